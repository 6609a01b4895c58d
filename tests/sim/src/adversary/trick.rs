//! What an adversary can be told to do, by name.

use std::fmt;
use std::str::FromStr;

use egtp::Cause;

/// Something that an adversary does to a node of its own accord. Sections are those of `core/PROTOCOL.md`.
///
/// As text it is the name in small letters with hyphens: `overlapping-pieces`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Trick {
    /// Is silent on a connection that it has opened. Whoever dials speaks first, within 10 s (section 15): closed after that.
    SilentAfterConnect,
    /// Sends half a HELLO and no more. Closed after 10 s (section 15).
    HalfPacket,
    /// Sends a HELLO and no record. The session stays tentative (section 7): forgotten after 10 s, and the connection closed.
    SilentAfterWelcome,
    /// Announces a packet of no bytes (section 5). Closed at once.
    EmptyPacket,
    /// Announces a packet of 4,097 bytes before it has authenticated (section 5). Closed when the length is there.
    LongPacketOfStranger,
    /// Announces a packet of 65,536 bytes after it has authenticated (section 5). Closed when the length is there.
    LongPacket,
    /// Sends a packet of another version (section 18). Closed.
    OtherVersion,
    /// Sends a packet of a kind that there is not (section 6). Closed.
    UnknownKind,
    /// Sends a HELLO that is a byte short (section 6). Closed.
    WrongLength,
    /// Sends a HELLO to somebody else (section 7). It does not open: closed.
    HelloForAnother,
    /// Sends a HELLO that was altered on the way (section 7). It does not open: closed.
    AlteredHello,
    /// Claims another's key in a HELLO (section 7). Closed.
    ClaimedKey,
    /// Claims a key of small order in a HELLO (section 7). Closed.
    WeakKey,
    /// Sets a flag without meaning in a HELLO (section 7). Closed.
    HelloFlag,
    /// Repeats its HELLO while the session is in use (section 7). Allowed: another tentative session, forgotten after 10 s.
    HelloAgain,
    /// Answers a HELLO that nobody has sent (section 7). Dropped.
    WelcomeUnasked,
    /// Says RETRY, BUSY and STALE about handshakes and sessions that there are not (sections 7 and 8). Hints about nothing: dropped.
    HintsUnasked,
    /// Sends a record before the handshake (section 8). Answered with STALE, and closed after 10 s.
    RecordBeforeHandshake,
    /// Sends what it has recorded on its connections with other nodes, as somebody on the path could (sections 7 and 8).
    /// Nothing of it opens: the first HELLO closes the connection, records are answered with STALE.
    ReplayElsewhere,
    /// Sends the node's own packets back to it (sections 7 and 9). They are for others: a HELLO closes the connection, records
    /// are answered with STALE.
    Reflection,
    /// Shakes hands under two names and sends a record of the one on the connection of the other (section 15). Closed.
    TwoFaces,
    /// Sends a frame of a type that there is not (section 10). BREAK 4, and closed.
    UnknownFrame,
    /// Sends a frame that ends before it should (section 10). BREAK 4, and closed.
    TruncatedFrame,
    /// Sends a QUERY with a flag without meaning (section 10). BREAK 4, and closed.
    MeaninglessFlag,
    /// Sends a QUERY whose part is empty (section 10). BREAK 4, and closed.
    EmptyPart,
    /// Sends a QUERY whose part is longer than the whole (section 10). BREAK 4, and closed.
    OversizedPart,
    /// Announces a message of more than 4,000,131 bytes (section 10). BREAK 4, and closed.
    OversizedMessage,
    /// Sends a DONE about numbers beyond the last (section 10). BREAK 4, and closed.
    DoneBeyondNumbers,
    /// Sends a BREAK about numbers beyond the last (section 10). BREAK 4, and closed.
    BreakBeyondNumbers,
    /// Asks about three sessions in one PING (section 10). BREAK 4, and closed.
    LongPing,
    /// Answers a PING that nobody has sent (section 10). Ignored.
    PongUnasked,
    /// Answers a proposal to leave that nobody has made (section 15). The connection ends once nothing is under way on it.
    LeaveUnasked,
    /// Proposes to leave, and stays (section 15). The node closes the connection in the end.
    LeaveAndStay,
    /// Acknowledges a query that it was never asked (section 11). BREAK 4, and closed.
    UnknownAck,
    /// Answers a query that it was never asked (section 11). BREAK 4, and closed.
    UnknownReply,
    /// Refuses a query that it was never asked (section 11). BREAK 4, and closed.
    UnknownRefuse,
    /// Says that a query that it was never asked is gone (section 11). BREAK 4, and closed.
    UnknownGone,
    /// Sends a piece that covers what has come in part (section 13). BREAK 4, and closed.
    OverlappingPieces,
    /// Sends a piece that says something else than what has come (section 13). BREAK 4, and closed.
    ContradictingPieces,
    /// Sends a piece that goes beyond the total (section 13). BREAK 4, and closed.
    PieceBeyondTotal,
    /// Sends more than 256 stretches that wait for something before them (section 13). BREAK 4, and closed.
    ScatteredPieces,
    /// Sends pieces of a message that it has not begun (section 13). Ignored.
    PieceOfNothing,
    /// Begins messages and goes on with none (section 13). Dropped after 30 s, and their numbers refused.
    UnfinishedPieces,
    /// Begins a message and gives the session up (sections 8 and 13). What has come of it is forgotten.
    BrokenOffPieces,
    /// Asks with a message for somebody else (section 11). REFUSE 7.
    ForAnother,
    /// Asks with a message that is none (section 12). REFUSE 7.
    MalformedMessage,
    /// Asks with a message whose body is shorter than it says (section 12). REFUSE 7.
    MessageLeftOver,
    /// Asks with a notice (section 12). REFUSE 7.
    NoticeAsQuery,
    /// Asks with a reply (section 12). REFUSE 7.
    ReplyAsQuery,
    /// Asks something whose deadline has passed (section 11). REFUSE 8.
    PastDeadline,
    /// Asks for a type that nobody serves (section 11). REFUSE 1.
    UnknownType,
    /// Asks something else under a number that was taken (section 11). GONE or ACK; it does not run.
    NumberTwice,
    /// Asks under a number far above the others, and then under the ones that are now below the table (section 11). GONE 1.
    NumberBelow,
    /// Asks under the last number that there is (section 11). Taken like any other.
    LastNumber,
    /// Withdraws a number and then uses it (section 11). REFUSE 9.
    WithdrawnNumber,
    /// Asks the same under the same number over a new connection (section 11). GONE 3; it does not run again.
    NumberAgainAfterRedial,
    /// Sends another record under a counter that was used (section 9). Dropped.
    CounterTwice,
    /// Sends a record under a counter below the window (section 9). Dropped.
    CounterBelow,
    /// Sends a record of an epoch that lies too far ahead (section 9). Dropped.
    CounterFarAhead,
    /// Sends a record under a counter that is never used (section 9). Dropped.
    CounterBeyondLast,
    /// Sends a record that was altered on the way (section 9). Dropped.
    AlteredRecord,
    /// Sends a record of a session that there is not (section 8). Answered with STALE.
    UnknownSession,
    /// Sends everything a second time (section 9). Records are dropped.
    Replay,
    /// Sends everything a second time over a new connection (section 9). Records are dropped, and the connection, on which nobody
    /// is proved, is closed after 10 s.
    ReplayAfterRedial,
    /// Sends everything a second time after a new handshake (section 9). Records are dropped.
    ReplayInNewSession,
    /// Sends the HELLO of a session that is in use over a new connection (section 7). A tentative session, forgotten after
    /// 10 s with the connection.
    ReplayedHello,
    /// Sends 150 HELLOs at once (section 7). From 100 in a second on the answer is RETRY; over one connection at most four
    /// tentative sessions are kept.
    HelloFlood,
    /// Opens 140 connections at once and is silent on them (section 16). Some are refused, the others closed after 10 s.
    ConnectionFlood,
    /// Asks 1,100 little things that nobody answers (section 16). REFUSE 2 beyond 1,024.
    QueryFlood,
    /// Sends 1,000 PINGs at once (section 10). Answered one by one.
    PingFlood,
}

/// How an adversary treats nodes that dial it and ask it something. Sections are those of `core/PROTOCOL.md`.
///
/// As text it is the name in small letters with hyphens: `answers-twice`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Manner {
    /// Answers each query with its own body, at once. Nothing is wrong with that.
    #[default]
    Answers,
    /// Answers once more, with another body (section 11). The second reply is dropped.
    AnswersTwice,
    /// Acknowledges, and answers a second after the deadline (section 14). The query has ended, and the reply is dropped.
    AnswersLate,
    /// Acknowledges and never answers (section 14). The query ends at its deadline, and the node says DONE.
    AnswersNever,
    /// Refers to another query in its reply (section 12). Ignored; the query goes on waiting.
    ForeignReference,
    /// Addresses its reply to somebody else (section 12). Ignored; the query goes on waiting.
    ForeignRecipient,
    /// Gives its reply another type (section 12). Ignored; the query goes on waiting.
    ForeignType,
    /// Sends what is no message as a reply (section 12). Ignored; the query goes on waiting.
    MalformedReply,
    /// Answers under the number after the query's, which the node has not used (section 11). BREAK 4, and closed.
    WrongNumber,
    /// Acknowledges, and then refuses (section 11). The node believes the refusal: whoever lies deceives itself.
    AcknowledgesAndRefuses,
    /// Begins a reply and goes on with another text at the same place (section 13). BREAK 4, and closed.
    ContradictsItself,
    /// Begins a reply and never ends it (section 13). The query ends at its deadline; what has come is dropped.
    NeverEndsReply,
    /// Closes the connection once the query has come (section 14). Connection lost.
    Cuts,
    /// Says nothing more, not even PONG, once the query has come (section 15). Found dead, and closed.
    FallsSilent,
    /// Forgets the session once the query has come (section 8). The node asks about it, and hears that it is lost.
    Forgets,
    /// Ends the session once the query has come, and says that it was not taken (section 8). The query goes again, and is answered.
    BreaksOff,
    /// Lets only one query be outstanding (section 7), and answers honestly after a while. The node keeps to it.
    AllowsOne,
    /// Is silent on connections that it accepts (section 15). Closed after 10 s.
    WelcomesNever,
    /// Answers HELLO with a WELCOME that does not open (section 7). Closed.
    WelcomesWrongly,
    /// Answers HELLO as somebody else would, with another's WELCOME (section 7). Dropped.
    WelcomesAnother,
    /// Answers every HELLO with BUSY (section 7). The node gives this way up after five.
    BusyForEver,
    /// Answers every HELLO with RETRY (section 7). The node sends four cookies, and then waits until its time is over.
    RetryForEver,
}

/// What an honest node does about a trick or a manner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Consequence {
    /// It notes this cause and closes the connection.
    Closes(Cause),
    /// It notes this cause and drops or refuses what came; the connection goes on.
    Notes(Cause),
    /// It closes the connection in order, and has nothing to note.
    Leaves,
    /// Nothing: it is no breach, or nothing that concerns it.
    Nothing,
}

impl Trick {
    /// Every trick there is.
    #[rustfmt::skip]
    pub const ALL: &[Self] = &[
        Self::SilentAfterConnect, Self::HalfPacket, Self::SilentAfterWelcome,
        Self::EmptyPacket, Self::LongPacketOfStranger, Self::LongPacket, Self::OtherVersion, Self::UnknownKind, Self::WrongLength,
        Self::HelloForAnother, Self::AlteredHello, Self::ClaimedKey, Self::WeakKey, Self::HelloFlag, Self::HelloAgain,
        Self::WelcomeUnasked, Self::HintsUnasked, Self::RecordBeforeHandshake,
        Self::ReplayElsewhere, Self::Reflection, Self::TwoFaces,
        Self::UnknownFrame, Self::TruncatedFrame, Self::MeaninglessFlag, Self::EmptyPart, Self::OversizedPart,
        Self::OversizedMessage, Self::DoneBeyondNumbers, Self::BreakBeyondNumbers, Self::LongPing, Self::PongUnasked,
        Self::LeaveUnasked, Self::LeaveAndStay,
        Self::UnknownAck, Self::UnknownReply, Self::UnknownRefuse, Self::UnknownGone,
        Self::OverlappingPieces, Self::ContradictingPieces, Self::PieceBeyondTotal, Self::ScatteredPieces,
        Self::PieceOfNothing, Self::UnfinishedPieces, Self::BrokenOffPieces,
        Self::ForAnother, Self::MalformedMessage, Self::MessageLeftOver, Self::NoticeAsQuery, Self::ReplyAsQuery,
        Self::PastDeadline, Self::UnknownType,
        Self::NumberTwice, Self::NumberBelow, Self::LastNumber, Self::WithdrawnNumber, Self::NumberAgainAfterRedial,
        Self::CounterTwice, Self::CounterBelow, Self::CounterFarAhead, Self::CounterBeyondLast,
        Self::AlteredRecord, Self::UnknownSession,
        Self::Replay, Self::ReplayAfterRedial, Self::ReplayInNewSession, Self::ReplayedHello,
        Self::HelloFlood, Self::ConnectionFlood, Self::QueryFlood, Self::PingFlood,
    ];

    /// Whether it takes places that others might have had: they fare worse for a while, as far as the node's limits allow.
    pub fn crowds_others_out(self) -> bool {
        matches!(self, Self::ConnectionFlood)
    }

    /// What a node with the default configuration does about it on a network without faults.
    pub fn consequence(self) -> Consequence {
        use Consequence::{Closes, Leaves, Notes, Nothing};
        match self {
            Self::SilentAfterConnect
            | Self::HalfPacket
            | Self::SilentAfterWelcome
            | Self::RecordBeforeHandshake
            | Self::ReplayedHello => Closes(Cause::NotAuthenticatedInTime),
            Self::EmptyPacket | Self::LongPacketOfStranger | Self::LongPacket => Closes(Cause::PacketTooLong),
            Self::OtherVersion => Closes(Cause::UnknownVersion),
            Self::HelloForAnother | Self::AlteredHello | Self::ReplayElsewhere | Self::Reflection => {
                Closes(Cause::HandshakeNotForMe)
            }
            Self::TwoFaces => Closes(Cause::ConnectedToAnother),
            Self::UnknownKind
            | Self::WrongLength
            | Self::ClaimedKey
            | Self::WeakKey
            | Self::HelloFlag
            | Self::UnknownFrame
            | Self::TruncatedFrame
            | Self::MeaninglessFlag
            | Self::EmptyPart
            | Self::OversizedPart
            | Self::OversizedMessage
            | Self::DoneBeyondNumbers
            | Self::BreakBeyondNumbers
            | Self::LongPing
            | Self::UnknownAck
            | Self::UnknownReply
            | Self::UnknownRefuse
            | Self::UnknownGone
            | Self::OverlappingPieces
            | Self::ContradictingPieces
            | Self::PieceBeyondTotal
            | Self::ScatteredPieces => Closes(Cause::ProtocolViolation),
            Self::LeaveUnasked | Self::LeaveAndStay => Leaves,
            Self::WelcomeUnasked => Notes(Cause::HandshakeAnswerUnexpected),
            Self::BrokenOffPieces => Notes(Cause::SessionEnded),
            Self::UnfinishedPieces => Notes(Cause::MessageAbandoned),
            Self::ForAnother
            | Self::MalformedMessage
            | Self::MessageLeftOver
            | Self::NoticeAsQuery
            | Self::ReplyAsQuery
            | Self::PastDeadline
            | Self::UnknownType
            | Self::WithdrawnNumber
            | Self::QueryFlood => Notes(Cause::QueryRefused),
            Self::NumberTwice | Self::NumberBelow | Self::NumberAgainAfterRedial => Notes(Cause::QueryRepeated),
            Self::CounterTwice | Self::Replay | Self::ReplayInNewSession => Notes(Cause::RecordReplayed),
            Self::CounterBelow | Self::ReplayAfterRedial => Closes(Cause::RecordReplayed),
            Self::CounterFarAhead | Self::CounterBeyondLast | Self::AlteredRecord => Notes(Cause::RecordNotOpened),
            Self::HelloFlood => Notes(Cause::HandshakeRefused),
            Self::ConnectionFlood => Closes(Cause::ConnectionRefused),
            Self::HelloAgain
            | Self::HintsUnasked
            | Self::PongUnasked
            | Self::PieceOfNothing
            | Self::LastNumber
            | Self::UnknownSession
            | Self::PingFlood => Nothing,
        }
    }
}

impl Manner {
    /// Every manner there is.
    #[rustfmt::skip]
    pub const ALL: &[Self] = &[
        Self::Answers, Self::AnswersTwice, Self::AnswersLate, Self::AnswersNever,
        Self::ForeignReference, Self::ForeignRecipient, Self::ForeignType, Self::MalformedReply, Self::WrongNumber,
        Self::AcknowledgesAndRefuses, Self::ContradictsItself, Self::NeverEndsReply,
        Self::Cuts, Self::FallsSilent, Self::Forgets, Self::BreaksOff, Self::AllowsOne,
        Self::WelcomesNever, Self::WelcomesWrongly, Self::WelcomesAnother, Self::BusyForEver, Self::RetryForEver,
    ];

    /// What a node with the default configuration does about it when it asks, on a network without faults.
    pub fn consequence(self) -> Consequence {
        use Consequence::{Closes, Notes, Nothing};
        match self {
            Self::AnswersTwice | Self::AnswersLate => Notes(Cause::ReplyUnexpected),
            Self::ForeignReference | Self::ForeignRecipient | Self::ForeignType | Self::MalformedReply => {
                Notes(Cause::ReplyMismatched)
            }
            Self::WrongNumber | Self::ContradictsItself => Closes(Cause::ProtocolViolation),
            Self::NeverEndsReply => Notes(Cause::MessageAbandoned),
            Self::FallsSilent => Closes(Cause::PeerSilent),
            Self::WelcomesNever | Self::WelcomesAnother | Self::RetryForEver => Closes(Cause::NotAuthenticatedInTime),
            Self::WelcomesWrongly => Closes(Cause::HandshakeAnswerUnexpected),
            Self::BusyForEver => Closes(Cause::StrategyFailed),
            Self::Answers
            | Self::AnswersNever
            | Self::AcknowledgesAndRefuses
            | Self::Cuts
            | Self::Forgets
            | Self::BreaksOff
            | Self::AllowsOne => Nothing,
        }
    }
}

impl fmt::Display for Trick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hyphenated(&format!("{self:?}")))
    }
}

impl fmt::Display for Manner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hyphenated(&format!("{self:?}")))
    }
}

impl FromStr for Trick {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.iter().copied().find(|trick| trick.to_string() == text).ok_or(UnknownName)
    }
}

impl FromStr for Manner {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.iter().copied().find(|manner| manner.to_string() == text).ok_or(UnknownName)
    }
}

/// There is no trick or manner of this name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownName;

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an adversary knows nothing of this name")
    }
}

impl std::error::Error for UnknownName {}

/// `OverlappingPieces` as `overlapping-pieces`.
fn hyphenated(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_word_that_can_be_read_again() {
        for &trick in Trick::ALL {
            assert_eq!(trick.to_string().parse(), Ok(trick));
        }
        for &manner in Manner::ALL {
            assert_eq!(manner.to_string().parse(), Ok(manner));
        }
        assert_eq!(Trick::OverlappingPieces.to_string(), "overlapping-pieces");
        assert_eq!("overlapping pieces".parse::<Trick>(), Err(UnknownName));
    }
}
