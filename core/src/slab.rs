//! Rows of things that are found by their place, without a hash: a key names a place and the how-manieth thing it is that lives there.

use alloc::vec::Vec;

/// So many places are kept though nothing lives there.
const KEPT_PLACES: usize = 16;

/// Names one thing of one [`Slab`]. A place is used again; its key is not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    /// Counts the things that have lived anywhere in the slab, so that keys are ordered by age.
    age: u64,
    slot: u32,
}

impl Key {
    pub(crate) fn slot(self) -> usize {
        usize::try_from(self.slot).unwrap_or(usize::MAX)
    }

    /// A number that nothing else of its slab ever has.
    pub(crate) fn age(self) -> u64 {
        self.age
    }
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.age)
    }
}

/// Things that are found by their [`Key`].
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Option<(u64, T)>>,
    free: Vec<u32>,
    born: u64,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new(), born: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key of whatever is inserted next.
    pub(crate) fn next_key(&self) -> Key {
        let slot = self.free.last().copied();
        Key { age: self.born + 1, slot: slot.unwrap_or_else(|| u32::try_from(self.places.len()).unwrap_or(u32::MAX)) }
    }

    pub(crate) fn insert(&mut self, thing: T) -> Key {
        let key = self.next_key();
        self.born = key.age;
        match self.free.pop() {
            Some(_) => self.places[key.slot()] = Some((key.age, thing)),
            None => self.places.push(Some((key.age, thing))),
        }
        key
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        match self.places.get(key.slot()) {
            Some(Some((age, thing))) if *age == key.age => Some(thing),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.places.get_mut(key.slot()) {
            Some(Some((age, thing))) if *age == key.age => Some(thing),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        let (_, thing) = self.places.get_mut(key.slot())?.take()?;
        self.free.push(key.slot);
        if self.free.len() == self.places.len() && self.places.len() > KEPT_PLACES {
            self.places = Vec::new();
            self.free = Vec::new();
        }
        Some(thing)
    }

    /// Everything, by place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places.iter().enumerate().filter_map(|(slot, place)| {
            let (age, thing) = place.as_ref()?;
            Some((Key { age: *age, slot: u32::try_from(slot).unwrap_or(u32::MAX) }, thing))
        })
    }

    /// Everything, by place, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.places.iter_mut().enumerate().filter_map(|(slot, place)| {
            let (age, thing) = place.as_mut()?;
            Some((Key { age: *age, slot: u32::try_from(slot).unwrap_or(u32::MAX) }, thing))
        })
    }

    /// All keys, the oldest first.
    pub(crate) fn keys_by_age(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_and_its_key_is_not() {
        let mut slab = Slab::new();
        let (first, second) = (slab.insert("first"), slab.insert("second"));
        assert_eq!(slab.remove(first), Some("first"));
        assert_eq!(slab.remove(first), None);
        let third = slab.insert("third");
        assert_eq!(third.slot(), first.slot());
        assert_eq!((slab.get(first), slab.get(second), slab.get(third)), (None, Some(&"second"), Some(&"third")));
        assert_eq!(slab.keys_by_age(), [second, third]);
        assert_eq!(slab.len(), 2);
    }

    #[test]
    fn an_empty_slab_holds_little_memory_and_gives_no_key_twice() {
        let mut slab = Slab::new();
        let keys: Vec<Key> = (0..100).map(|thing| slab.insert(thing)).collect();
        let first = keys[0];
        for key in keys {
            slab.remove(key);
        }
        assert_eq!(slab.places.capacity(), 0);
        let second = slab.insert(2);
        assert_ne!(first, second);
        assert_eq!((slab.get(first), slab.get(second)), (None, Some(&2)));
    }

    #[test]
    fn the_next_key_is_the_one_that_is_given() {
        let mut slab = Slab::new();
        for round in 0..10 {
            let expected = slab.next_key();
            let key = slab.insert(round);
            assert_eq!(key, expected);
            if round % 3 == 0 {
                slab.remove(key);
            }
        }
    }
}
