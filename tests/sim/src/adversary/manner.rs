//! How an adversary can be told to answer, by name.

use std::fmt;
use std::str::FromStr;

use egtp::Cause;

use super::trick::{Consequence, UnknownName, hyphenated};

/// How an adversary treats nodes that dial it and ask it something. Sections are those of `core/PROTOCOL.md`.
///
/// As text it is the name in small letters with hyphens: `answers-twice`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[non_exhaustive]
pub enum Manner {
    /// Answers each query with its own body, at once, and acknowledges everything. Nothing is wrong with that.
    #[default]
    Answers,
    /// Answers once more, with another body (section 11). The query has ended, and the second reply means nothing.
    AnswersTwice,
    /// Answers a second after the deadline (section 14). The query has ended, and the reply means nothing.
    AnswersLate,
    /// Never answers (section 14). The query ends at its deadline, and the node says CANCEL.
    AnswersNever,
    /// Answers, and then says everything else that can be said of that number: every REFUSE, every REPLY (section 11). It means nothing.
    SaysEverythingAfterwards,
    /// Refers to another query in its reply (section 12). Ignored; the query goes on waiting.
    ForeignReference,
    /// Addresses its reply to somebody else (section 12). Ignored; the query goes on waiting.
    ForeignRecipient,
    /// Gives its reply another type (section 12). Ignored; the query goes on waiting.
    ForeignType,
    /// Sends what is no message as a reply (section 12). Ignored; the query goes on waiting.
    MalformedReply,
    /// Answers under a number that the node has not used (section 11). BREAK 4, and closed.
    WrongNumber,
    /// Refuses each query with another code than the one before (section 10). Believed, whatever it is: whoever lies deceives itself.
    Refuses,
    /// Says of each query in turn that its handler said no, or that the answer does not fit (section 10). Believed.
    Declines,
    /// Says that it has forgotten what became of a query (section 10). Lost by the peer.
    SaysThatItForgot,
    /// Begins a reply and goes on with another text at the same place (section 12). BREAK 4, and closed.
    ContradictsItself,
    /// Begins a reply and never ends it (section 12). The query ends at its deadline; what has come is dropped.
    NeverEndsReply,
    /// Closes the connection once the query has come (section 15). It comes again, until its deadline.
    Cuts,
    /// Says nothing more once the query has come (section 15). The connection is found dead, and closed; the query ends at its deadline.
    FallsSilent,
    /// Forgets the session once the query has come (section 8). The node asks about it, and hears that it is lost.
    Forgets,
    /// Ends the session once the query has come, and says that it was not taken (section 8). The query goes again, and is answered.
    BreaksOff,
    /// Ends the session once the query has come, and says that everything was taken (section 8). Lost by the peer.
    BreaksOffWithAll,
    /// Lets only one query be outstanding (section 7), and answers honestly after a while. The node keeps to it.
    AllowsOne,
    /// Answers, and acknowledges nothing (section 15). The node asks whether it is there, and closes the connection in the end.
    AcknowledgesNever,
    /// Closes the connection once the query has come, and acknowledges and answers it over the next one (section 13).
    AcknowledgesLate,
    /// Acknowledges with each record all that were sealed before it, whether they came or not (section 13), and answers. BREAK 4 if one of
    /// them was left out.
    AcknowledgesEverything,
    /// Acknowledges PINGs and nothing else (section 13). What was passed over goes again; after three times BREAK 4, and closed.
    PassesOver,
    /// Says STALE of the session in which the query has come, which it holds (section 8), and answers after a while. The node asks about it
    /// meanwhile.
    SaysStale,
    /// Sends a HELLO of its own before it answers the node's (section 8), so that there are two sessions, and answers.
    CrossesHello,
    /// Says first BUSY and then RETRY before it answers a HELLO (section 7). The node follows.
    PutsOff,
    /// Is silent on connections that it accepts (section 15). Closed after 10 s.
    WelcomesNever,
    /// Answers HELLO with a WELCOME that does not open (section 7). Closed.
    WelcomesWrongly,
    /// Answers HELLO as somebody else would, with another's WELCOME (section 7). Dropped.
    WelcomesAnother,
    /// Answers every HELLO with BUSY (section 7). The node comes again until the deadline.
    BusyForEver,
    /// Answers every HELLO with RETRY (section 7). The node sends four cookies, and then waits until its time is over.
    RetryForEver,
}

/// How it acknowledges what comes in a session (section 13).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Acks {
    /// Everything that has come, at once.
    Honest,
    /// Nothing.
    Never,
    /// What holds nothing but a PING.
    PassOver,
    /// Everything up to the highest, whether it has come or not.
    Everything,
}

impl Manner {
    /// Every manner there is.
    #[rustfmt::skip]
    pub const ALL: &[Self] = &[
        Self::Answers, Self::AnswersTwice, Self::AnswersLate, Self::AnswersNever, Self::SaysEverythingAfterwards,
        Self::ForeignReference, Self::ForeignRecipient, Self::ForeignType, Self::MalformedReply, Self::WrongNumber,
        Self::Refuses, Self::Declines, Self::SaysThatItForgot, Self::ContradictsItself, Self::NeverEndsReply,
        Self::Cuts, Self::FallsSilent, Self::Forgets, Self::BreaksOff, Self::BreaksOffWithAll, Self::AllowsOne,
        Self::AcknowledgesNever, Self::AcknowledgesLate, Self::AcknowledgesEverything, Self::PassesOver, Self::SaysStale,
        Self::CrossesHello, Self::PutsOff,
        Self::WelcomesNever, Self::WelcomesWrongly, Self::WelcomesAnother, Self::BusyForEver, Self::RetryForEver,
    ];

    pub(super) fn acks(self) -> Acks {
        match self {
            Self::AcknowledgesNever => Acks::Never,
            Self::AcknowledgesEverything => Acks::Everything,
            Self::PassesOver => Acks::PassOver,
            _ => Acks::Honest,
        }
    }

    /// Whether a node may answer with BREAK 4.
    pub(super) fn breaks_rules(self) -> bool {
        use Consequence::{Closes, MayClose};
        matches!(self.consequence(), Closes(Cause::ProtocolViolation) | MayClose(Cause::ProtocolViolation))
    }

    /// What a node with the default configuration does about it when it asks, on a network without faults.
    pub fn consequence(self) -> Consequence {
        use Consequence::{Closes, MayClose, Notes, Nothing};
        match self {
            Self::AnswersTwice | Self::AnswersLate | Self::SaysEverythingAfterwards => Notes(Cause::ReplyUnexpected),
            Self::ForeignReference | Self::ForeignRecipient | Self::ForeignType | Self::MalformedReply => {
                Notes(Cause::ReplyMismatched)
            }
            Self::WrongNumber | Self::ContradictsItself | Self::PassesOver => Closes(Cause::ProtocolViolation),
            Self::AcknowledgesEverything => MayClose(Cause::ProtocolViolation),
            Self::FallsSilent | Self::AcknowledgesNever => Closes(Cause::PeerSilent),
            Self::WelcomesNever | Self::WelcomesAnother | Self::RetryForEver => Closes(Cause::NotAuthenticatedInTime),
            Self::WelcomesWrongly => Closes(Cause::HandshakeAnswerUnexpected),
            Self::BreaksOff | Self::BreaksOffWithAll => Notes(Cause::SessionEnded),
            Self::Answers
            | Self::AnswersNever
            | Self::NeverEndsReply
            | Self::Refuses
            | Self::Declines
            | Self::SaysThatItForgot
            | Self::Cuts
            | Self::Forgets
            | Self::AllowsOne
            | Self::AcknowledgesLate
            | Self::SaysStale
            | Self::CrossesHello
            | Self::PutsOff
            | Self::BusyForEver => Nothing,
        }
    }
}

impl fmt::Display for Manner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hyphenated(&format!("{self:?}")))
    }
}

impl FromStr for Manner {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.iter().copied().find(|manner| manner.to_string() == text).ok_or(UnknownName)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_word_that_can_be_read_again() {
        for &manner in Manner::ALL {
            assert_eq!(manner.to_string().parse(), Ok(manner));
        }
        assert_eq!(Manner::AnswersTwice.to_string(), "answers-twice");
        assert_eq!("answers twice".parse::<Manner>(), Err(UnknownName));
    }
}
