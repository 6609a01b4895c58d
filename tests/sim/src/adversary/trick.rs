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
    /// Is silent on a connection that it has opened. Nobody is proved on it within 10 s (section 15): closed after that.
    SilentAfterConnect,
    /// Sends half a HELLO and no more. Closed after 10 s (section 15).
    HalfPacket,
    /// Sends a HELLO and no record. The session stays tentative until its place is needed (section 8); the connection is closed
    /// after 10 s.
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
    /// Repeats its HELLO while the session is in use (section 7). Allowed: another tentative session.
    HelloAgain,
    /// Shakes hands twice on one connection (section 7), and asks in both sessions. Allowed.
    TwoHandshakes,
    /// Answers a HELLO that nobody has sent (section 7). Dropped.
    WelcomeUnasked,
    /// Says RETRY, BUSY and STALE about handshakes and sessions that there are not (sections 7 and 8). Hints about nothing: dropped.
    HintsUnasked,
    /// Says STALE about a session that it holds (section 8). The node asks by a HELLO, and hears that it is held.
    StaleHint,
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
    /// Sends some frame with some other value out of range (section 10). BREAK 4, and closed.
    ValueOutOfRange,
    /// Sends a BREAK about numbers beyond the last (section 10). BREAK 4, and closed.
    BreakBeyondNumbers,
    /// Ends a session with a BREAK that says anything (sections 8 and 10), and makes another. Believed.
    BreakOfAnything,
    /// Acknowledges records that were never sealed (section 13). BREAK 4, and closed.
    UnknownAck,
    /// Sends an ACK whose runs go below 0 or touch each other (section 10). BREAK 4, and closed.
    MalformedAck,
    /// Says the same ACK 1,000 times (section 13). Allowed.
    AckFlood,
    /// Asks, and acknowledges no answer (section 15). The node asks whether it is there; closed after a while.
    AcknowledgesNothing,
    /// Asks, goes without acknowledging the answers, and acknowledges them when it is back (section 13). An ACK of a record that was
    /// given up as lost counts.
    AcknowledgesLate,
    /// Answers a query that it was never asked, with any code (section 11). BREAK 4, and closed.
    UnknownReply,
    /// Sends a later part of an answer to a query that it was never asked (section 11). BREAK 4, and closed.
    UnknownPiece,
    /// Refuses a query that it was never asked, with any code (section 11). BREAK 4, and closed.
    UnknownRefuse,
    /// Sends parts that overlap and say the same (section 12), the last one first. Put together, and answered.
    OverlappingPieces,
    /// Sends a piece that says something else than what has come (section 12). BREAK 4, and closed.
    ContradictingPieces,
    /// Sends a piece that goes beyond the total (section 10). BREAK 4, and closed.
    PieceBeyondTotal,
    /// Sends a piece that names another total (section 12). BREAK 4, and closed.
    OtherTotal,
    /// Sends the first part again with another deadline (section 12). BREAK 4, and closed.
    OtherDeadline,
    /// Sends more than 1,024 stretches that stand apart (section 12). BREAK 4, and closed.
    ScatteredPieces,
    /// Sends pieces of a message that never begins (section 12). Refused after 30 s.
    PieceOfNothing,
    /// Begins messages and goes on with none (section 11). Refused after 30 s.
    UnfinishedPieces,
    /// Begins more long messages than there is memory for (section 12). REFUSE 4.
    CrowdingPieces,
    /// Begins a message and gives the session up (sections 8 and 11). What has come of it is forgotten.
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
    /// Asks something else under a number that was taken (section 11). It does not run, and nothing is said.
    NumberTwice,
    /// Asks under a number far above the others, and then under the ones that are now below the table (section 11). REFUSE 10.
    NumberBelow,
    /// Asks under the last number that there is (section 11). Taken like any other.
    LastNumber,
    /// Cancels a number and then uses it (section 11). REFUSE 9.
    WithdrawnNumber,
    /// Cancels the last number that there is, and then uses the first (section 11). REFUSE 10.
    WithdrawnLastNumber,
    /// Cancels what a handler has (section 11). The handler is told.
    WithdrawnWhileRunning,
    /// Asks the same under the same number over a new connection (section 11). It does not run again.
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
    /// Sends again whatever it has ever sent to this node in a session (sections 8 and 9). Records are dropped, or answered with STALE.
    ReplayAnything,
    /// Sends the HELLO of a session that is in use over a new connection (section 7). A tentative session; the connection is closed
    /// after 10 s.
    ReplayedHello,
    /// Sends 150 HELLOs at once (section 7). From 100 in a second on the answer is RETRY; over one connection at most four
    /// tentative sessions are kept.
    HelloFlood,
    /// Opens 140 connections at once and is silent on them (section 16). Some are refused, the others closed after 10 s.
    ConnectionFlood,
    /// Asks 1,100 little things that nobody answers (section 16). REFUSE 2 beyond 1,024.
    QueryFlood,
    /// Sends 1,000 PINGs at once (section 10). Acknowledged.
    PingFlood,
}

/// What an honest node does about a trick or a manner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Consequence {
    /// It notes this cause and closes the connection.
    Closes(Cause),
    /// It notes this cause and drops or refuses what came; the connection goes on.
    Notes(Cause),
    /// It may note this cause and close the connection, or nothing.
    MayClose(Cause),
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
        Self::TwoHandshakes, Self::WelcomeUnasked, Self::HintsUnasked, Self::StaleHint, Self::RecordBeforeHandshake,
        Self::ReplayElsewhere, Self::Reflection, Self::TwoFaces,
        Self::UnknownFrame, Self::TruncatedFrame, Self::MeaninglessFlag, Self::EmptyPart, Self::OversizedPart,
        Self::OversizedMessage, Self::ValueOutOfRange, Self::BreakBeyondNumbers, Self::BreakOfAnything,
        Self::UnknownAck, Self::MalformedAck, Self::AckFlood, Self::AcknowledgesNothing, Self::AcknowledgesLate,
        Self::UnknownReply, Self::UnknownPiece, Self::UnknownRefuse,
        Self::OverlappingPieces, Self::ContradictingPieces, Self::PieceBeyondTotal, Self::OtherTotal, Self::OtherDeadline,
        Self::ScatteredPieces, Self::PieceOfNothing, Self::UnfinishedPieces, Self::CrowdingPieces, Self::BrokenOffPieces,
        Self::ForAnother, Self::MalformedMessage, Self::MessageLeftOver, Self::NoticeAsQuery, Self::ReplyAsQuery,
        Self::PastDeadline, Self::UnknownType,
        Self::NumberTwice, Self::NumberBelow, Self::LastNumber,
        Self::WithdrawnNumber, Self::WithdrawnLastNumber, Self::WithdrawnWhileRunning, Self::NumberAgainAfterRedial,
        Self::CounterTwice, Self::CounterBelow, Self::CounterFarAhead, Self::CounterBeyondLast,
        Self::AlteredRecord, Self::UnknownSession,
        Self::Replay, Self::ReplayAfterRedial, Self::ReplayInNewSession, Self::ReplayAnything, Self::ReplayedHello,
        Self::HelloFlood, Self::ConnectionFlood, Self::QueryFlood, Self::PingFlood,
    ];

    /// Whether it takes places that others might have had: they fare worse for a while, as far as the node's limits allow.
    pub fn crowds_others_out(self) -> bool {
        matches!(self, Self::ConnectionFlood)
    }

    /// Whether a node may answer with BREAK 4.
    pub(super) fn breaks_rules(self) -> bool {
        self.consequence() == Consequence::Closes(Cause::ProtocolViolation)
    }

    /// What a node with the default configuration does about it on a network without faults.
    pub fn consequence(self) -> Consequence {
        use Consequence::{Closes, Notes, Nothing};
        match self {
            Self::SilentAfterConnect
            | Self::HalfPacket
            | Self::SilentAfterWelcome
            | Self::RecordBeforeHandshake
            | Self::ReplayedHello
            | Self::ReplayElsewhere => Closes(Cause::NotAuthenticatedInTime),
            Self::EmptyPacket | Self::LongPacketOfStranger | Self::LongPacket => Closes(Cause::PacketTooLong),
            Self::OtherVersion => Closes(Cause::UnknownVersion),
            Self::HelloForAnother | Self::AlteredHello | Self::Reflection => Closes(Cause::HandshakeNotForMe),
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
            | Self::ValueOutOfRange
            | Self::BreakBeyondNumbers
            | Self::UnknownAck
            | Self::MalformedAck
            | Self::UnknownReply
            | Self::UnknownPiece
            | Self::UnknownRefuse
            | Self::ContradictingPieces
            | Self::PieceBeyondTotal
            | Self::OtherTotal
            | Self::OtherDeadline
            | Self::ScatteredPieces => Closes(Cause::ProtocolViolation),
            Self::AcknowledgesNothing => Closes(Cause::PeerSilent),
            Self::WelcomeUnasked => Notes(Cause::HandshakeAnswerUnexpected),
            Self::BrokenOffPieces | Self::BreakOfAnything => Notes(Cause::SessionEnded),
            Self::ForAnother
            | Self::MalformedMessage
            | Self::MessageLeftOver
            | Self::NoticeAsQuery
            | Self::ReplyAsQuery
            | Self::PastDeadline
            | Self::UnknownType
            | Self::PieceOfNothing
            | Self::UnfinishedPieces
            | Self::CrowdingPieces
            | Self::NumberBelow
            | Self::WithdrawnNumber
            | Self::WithdrawnLastNumber
            | Self::QueryFlood => Notes(Cause::QueryRefused),
            Self::CounterTwice | Self::Replay | Self::ReplayInNewSession | Self::ReplayAnything => {
                Notes(Cause::RecordReplayed)
            }
            Self::CounterBelow => Notes(Cause::RecordReplayed),
            Self::NumberTwice | Self::NumberAgainAfterRedial => Notes(Cause::QueryRepeated),
            Self::ReplayAfterRedial => Closes(Cause::RecordReplayed),
            Self::CounterFarAhead | Self::CounterBeyondLast | Self::AlteredRecord => Notes(Cause::RecordNotOpened),
            Self::HelloFlood => Notes(Cause::HandshakeRefused),
            Self::ConnectionFlood => Closes(Cause::ConnectionRefused),
            Self::HelloAgain
            | Self::TwoHandshakes
            | Self::HintsUnasked
            | Self::StaleHint
            | Self::AckFlood
            | Self::AcknowledgesLate
            | Self::OverlappingPieces
            | Self::WithdrawnWhileRunning
            | Self::LastNumber
            | Self::UnknownSession
            | Self::PingFlood => Nothing,
        }
    }
}

impl fmt::Display for Trick {
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
pub(super) fn hyphenated(name: &str) -> String {
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
        assert_eq!(Trick::OverlappingPieces.to_string(), "overlapping-pieces");
        assert_eq!("overlapping pieces".parse::<Trick>(), Err(UnknownName));
    }
}
