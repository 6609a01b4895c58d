//! A cursor over bytes from outside. Whatever is missing is an error, never a panic.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions))]

/// The bytes do not have the layout that they must have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

/// Takes one field after the other from the front.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.bytes().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.bytes().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.bytes().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.bytes().map(u64::from_be_bytes)
    }

    /// A length in four bytes, of which nothing is known but that it fits a `usize`.
    pub(crate) fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.u32()?).map_err(|_| Malformed)
    }

    /// A copy of the next `N` bytes.
    pub(crate) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.array().copied()
    }

    /// The next `N` bytes where they are.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `length` bytes where they are.
    pub(crate) fn slice(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Ends the reading. A byte that is left over is malformed.
    pub(crate) fn finish(self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_out_in_order_and_big_endian() {
        let bytes: [u8; 24] = core::array::from_fn(|i| u8::try_from(i).unwrap());
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.u8(), Ok(0));
        assert_eq!(reader.u16(), Ok(0x0102));
        assert_eq!(reader.u32(), Ok(0x0304_0506));
        assert_eq!(reader.u64(), Ok(0x0708_090a_0b0c_0d0e));
        assert_eq!(reader.bytes(), Ok([15, 16]));
        assert_eq!(reader.array(), Ok(&[17, 18]));
        assert_eq!(reader.slice(2), Ok(&[19, 20][..]));
        assert!(!reader.is_empty());
        assert_eq!(reader.rest(), [21, 22, 23]);
        assert!(reader.is_empty());
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_field_that_is_cut_short_is_refused_and_nothing_is_taken() {
        let mut reader = Reader::new(&[1]);
        assert_eq!(reader.u16(), Err(Malformed));
        assert_eq!(reader.u32(), Err(Malformed));
        assert_eq!(reader.u64(), Err(Malformed));
        assert_eq!(reader.length(), Err(Malformed));
        assert_eq!(reader.bytes::<2>(), Err(Malformed));
        assert_eq!(reader.array::<2>(), Err(Malformed));
        assert_eq!(reader.slice(2), Err(Malformed));
        assert_eq!(reader.slice(usize::MAX), Err(Malformed));
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u8(), Err(Malformed));
    }

    #[test]
    fn a_byte_left_over_is_refused() {
        assert_eq!(Reader::new(&[0]).finish(), Err(Malformed));
    }
}
