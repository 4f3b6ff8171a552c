//! Tokens for the buffers of ports: who may put which buffer into a slot (port/ring.rs), and how a
//! buffer travels in a context. Move-only, like all tokens of this room; no memory is touched here.

/// The right to one buffer of a port's region, by index. Move-only: who holds it alone may put it
/// into a slot, so that a buffer can never stand in two slots.
#[derive(PartialEq, Eq, Debug)]
pub struct Buffer(u32);

impl Buffer {
    /// The buffer's index, to be written into a slot.
    pub(crate) fn into_index(self) -> u32 {
        self.0
    }

    /// The index, to look at.
    pub fn index(&self) -> u32 {
        self.0
    }

    /// The buffer that a slot (or a kernel's list) gave up. Turning one index into two buffers
    /// breaks conservation, which the rings' audits find; hence `pub(crate)`, for ports alone.
    pub(crate) fn from_index(index: u32) -> Buffer {
        Buffer(index)
    }
}

/// Where a context keeps the buffer that it owns, if it owns one. A clone owns none.
#[derive(PartialEq, Eq, Debug)]
pub struct BufferPlace(u32);

impl BufferPlace {
    const EMPTY: u32 = u32::MAX;

    /// Takes the buffer out.
    pub fn take(&mut self) -> Option<Buffer> {
        match std::mem::replace(&mut self.0, BufferPlace::EMPTY) {
            BufferPlace::EMPTY => None,
            index => Some(Buffer(index)),
        }
    }

    /// Puts a buffer in; gives back the one that was there.
    pub fn put(&mut self, buffer: Buffer) -> Option<Buffer> {
        let before = self.take();
        self.0 = buffer.into_index();
        before
    }

    /// Whether a buffer is in it.
    pub fn is_full(&self) -> bool {
        self.0 != BufferPlace::EMPTY
    }

    /// Index of the buffer in it, for audits.
    pub fn index(&self) -> Option<u32> {
        self.is_full().then_some(self.0)
    }
}

impl Default for BufferPlace {
    fn default() -> BufferPlace {
        BufferPlace(BufferPlace::EMPTY)
    }
}

impl Clone for BufferPlace {
    /// The copy of a context does not own the buffer of the original.
    fn clone(&self) -> BufferPlace {
        BufferPlace::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_gives_its_buffer_once_and_a_copy_has_none() {
        let mut place = BufferPlace::default();
        assert!(place.take().is_none());
        assert!(place.put(Buffer::from_index(7)).is_none());
        assert_eq!((place.is_full(), place.index()), (true, Some(7)));
        assert!(place.clone().take().is_none(), "the copy owns nothing");
        assert_eq!(
            place.put(Buffer::from_index(8)).map(Buffer::into_index),
            Some(7)
        );
        assert_eq!(place.take().map(Buffer::into_index), Some(8));
        assert!(place.take().is_none());
    }
}
