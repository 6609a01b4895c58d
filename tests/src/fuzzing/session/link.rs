//! One connection between the two, and the bytes that are on it.

use std::collections::VecDeque;

use egtp::ConnectionId;
use egtp_sim::second::packet::{framed, unframed};

/// The two sides are 0 and 1. What a side has written is on its way to the other.
#[derive(Debug)]
pub(super) struct Line {
    dialler: usize,
    dialling: bool,
    /// What the sides call it, as long as it has not ended for them.
    ids: [Option<ConnectionId>; 2],
    streams: [Stream; 2],
}

/// What one side has written.
#[derive(Debug, Default)]
struct Stream {
    queue: VecDeque<u8>,
    /// What has been written of a packet that is not whole yet.
    written: Vec<u8>,
    /// How many bytes were written and read in all, and where packets start that were not read from their start.
    total: usize,
    read: usize,
    starts: VecDeque<usize>,
}

impl Line {
    pub(super) fn dialled(dialler: usize, id: ConnectionId) -> Self {
        let mut ids = [None; 2];
        ids[dialler] = Some(id);
        Self { dialler, dialling: true, ids, streams: Default::default() }
    }

    pub(super) fn opens(&mut self, accepted: ConnectionId) {
        self.dialling = false;
        self.ids[1 - self.dialler] = Some(accepted);
    }

    pub(super) fn dialler(&self) -> (usize, ConnectionId) {
        (self.dialler, self.ids[self.dialler].expect("it is being dialled"))
    }

    pub(super) fn is_dialling(&self) -> bool {
        self.dialling && !self.is_over()
    }

    pub(super) fn is_open(&self) -> bool {
        !self.dialling
    }

    pub(super) fn is_over(&self) -> bool {
        self.ids == [None; 2]
    }

    pub(super) fn id(&self, side: usize) -> Option<ConnectionId> {
        self.ids[side]
    }

    /// It ends for one side, which reads nothing more of it.
    pub(super) fn ends(&mut self, side: usize) {
        self.ids[side] = None;
        self.streams[1 - side] = Stream::default();
    }

    pub(super) fn has_ended(&self, side: usize) -> bool {
        self.ids[side].is_none()
    }

    /// Whether everything that a side has written was read.
    pub(super) fn is_drained(&self, side: usize) -> bool {
        self.streams[side].queue.is_empty()
    }

    /// Everything that is on it is lost.
    pub(super) fn empties(&mut self) {
        self.streams = Default::default();
    }

    /// A side has written these bytes. Gives back the packets that are whole now.
    pub(super) fn takes(&mut self, side: usize, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.streams[side].takes(bytes)
    }

    /// As many bytes as the other side reads of what this side has written.
    pub(super) fn gives(&mut self, side: usize, most: usize) -> Vec<u8> {
        self.streams[side].gives(most)
    }

    /// The packet that would be read next is lost, if it is there as a whole.
    pub(super) fn loses(&mut self, side: usize) {
        let stream = &mut self.streams[side];
        let end = stream.starts.get(1).copied().or(stream.written.is_empty().then_some(stream.total));
        if let Some(end) = end
            && stream.starts.front() == Some(&stream.read)
        {
            stream.gives(end - stream.read);
        }
    }

    /// A packet goes once more behind what was written, unless that ends within one.
    pub(super) fn repeats(&mut self, side: usize, packet: &[u8]) {
        let has_reader = self.is_open() && self.ids[1 - side].is_some();
        let stream = &mut self.streams[side];
        if has_reader && stream.written.is_empty() {
            stream.takes(&framed(packet));
        }
    }
}

impl Stream {
    fn takes(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut start = self.total - self.written.len();
        if self.written.is_empty() {
            self.starts.push_back(start);
        }
        self.queue.extend(bytes);
        self.written.extend(bytes);
        self.total += bytes.len();
        let packets = unframed(&mut self.written);
        for packet in &packets {
            start += 4 + packet.len();
            if start < self.total {
                self.starts.push_back(start);
            }
        }
        packets
    }

    fn gives(&mut self, most: usize) -> Vec<u8> {
        let given: Vec<u8> = self.queue.drain(..most.min(self.queue.len())).collect();
        self.read += given.len();
        while self.starts.front().is_some_and(|&start| start < self.read) {
            self.starts.pop_front();
        }
        given
    }
}
