//! Which stream windows were used longest ago, and what stays of a stream that has lost its window.
//! There are fewer windows than flows where flows are counted in millions: a direction that falls
//! silent gives its window to one that speaks, and keeps its last [`CARRY`] bytes, so that a fast
//! pattern is still found across the junction. What such a stream loses is older bytes and what was
//! proposed about them; it is counted. Where every direction can have a window, nothing is kept here.
//! The windows themselves are window.rs's.

/// No window, no slab.
const NONE: u32 = u32::MAX;
/// Bytes that stay of a direction: with length and offset a cache line.
pub const CARRY: usize = 59;

/// What stays of one direction.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Carry {
    /// Stream offset behind the last byte, modulo 2^32.
    end: u32,
    length: u8,
    bytes: [u8; CARRY],
}

/// A window's place in the order, and whose it is.
#[derive(Clone, Copy)]
struct Link {
    newer: u32,
    older: u32,
    slab: u32,
    direction: u8,
}

/// The order of windows by their last use, and carries by slab and direction.
pub struct Recent {
    links: Vec<Link>,
    newest: u32,
    oldest: u32,
    carries: Vec<[Carry; 2]>,
}

impl Recent {
    /// For so many windows and slabs; keeps nothing where each direction can have its own.
    pub fn new(windows: usize, slabs: usize) -> Recent {
        let needed = windows < 2 * slabs;
        let link = Link {
            newer: NONE,
            older: NONE,
            slab: NONE,
            direction: 0,
        };
        let carry = Carry {
            end: 0,
            length: 0,
            bytes: [0; CARRY],
        };
        Recent {
            links: vec![link; if needed { windows } else { 0 }],
            newest: NONE,
            oldest: NONE,
            carries: vec![[carry; 2]; if needed { slabs } else { 0 }],
        }
    }

    /// Bytes for so many windows and slabs.
    pub fn size_of(windows: usize, slabs: usize) -> usize {
        match windows < 2 * slabs {
            true => windows * size_of::<Link>() + slabs * size_of::<[Carry; 2]>(),
            false => 0,
        }
    }

    fn link(&mut self, window: u32) -> Option<&mut Link> {
        self.links.get_mut(window as usize)
    }

    /// A window was taken for a direction of a slab.
    pub fn add(&mut self, window: u32, slab: u32, direction: usize) {
        let older = self.newest;
        let Some(link) = self.link(window) else {
            return;
        };
        *link = Link {
            newer: NONE,
            older,
            slab,
            direction: direction as u8,
        };
        self.newest = window;
        match self.link(older) {
            Some(link) => link.newer = window,
            None => self.oldest = window,
        }
    }

    /// A window is given back.
    pub fn remove(&mut self, window: u32) {
        let Some(Link { newer, older, .. }) = self.link(window).copied() else {
            return;
        };
        match self.link(newer) {
            Some(link) => link.older = older,
            None => self.newest = older,
        }
        match self.link(older) {
            Some(link) => link.newer = newer,
            None => self.oldest = newer,
        }
    }

    /// A window is used.
    pub fn touch(&mut self, window: u32) {
        if self.newest == window {
            return;
        }
        if let Some(Link {
            slab, direction, ..
        }) = self.link(window).copied()
        {
            self.remove(window);
            self.add(window, slab, usize::from(direction));
        }
    }

    /// The window that was used longest ago, with its slab and direction.
    pub fn oldest(&self) -> Option<(u32, u32, usize)> {
        let link = self.links.get(self.oldest as usize)?;
        Some((self.oldest, link.slab, usize::from(link.direction)))
    }

    /// Keeps the last bytes of a direction, whose stream ends at `end`.
    pub fn keep(&mut self, slab: u32, direction: usize, data: &[u8], end: u64) {
        let carries = self.carries.get_mut(slab as usize);
        let Some(carry) = carries.and_then(|carries| carries.get_mut(direction)) else {
            return;
        };
        let tail = data
            .get(data.len().saturating_sub(CARRY)..)
            .unwrap_or_default();
        (carry.end, carry.length) = (end as u32, tail.len() as u8);
        if let Some(place) = carry.bytes.get_mut(..tail.len()) {
            place.copy_from_slice(tail);
        }
    }

    /// The bytes kept before stream offset `at`; none where the stream does not go on there.
    pub fn kept(&self, slab: u32, direction: usize, at: u32) -> &[u8] {
        let carries = self.carries.get(slab as usize);
        let carry = carries.and_then(|carries| carries.get(direction));
        carry
            .filter(|carry| carry.end == at)
            .and_then(|carry| carry.bytes.get(..usize::from(carry.length)))
            .unwrap_or_default()
    }

    /// A flow has ended.
    pub fn forget(&mut self, slab: u32) {
        if let Some(carries) = self.carries.get_mut(slab as usize) {
            carries.iter_mut().for_each(|carry| carry.length = 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_use() {
        let mut recent = Recent::new(4, 4);
        for window in 0..4 {
            recent.add(window, 10 + window, window as usize % 2);
        }
        recent.touch(0);
        recent.touch(2);
        recent.remove(3);
        let mut order = Vec::new();
        while let Some((window, slab, direction)) = recent.oldest() {
            assert_eq!((slab, direction), (10 + window, window as usize % 2));
            order.push(window);
            recent.remove(window);
        }
        assert_eq!(order, [1, 0, 2]);
        recent.add(3, 1, 0);
        assert_eq!(recent.oldest(), Some((3, 1, 0)));
    }

    #[test]
    fn only_the_last_bytes_of_the_same_stream_stay() {
        let mut recent = Recent::new(1, 2);
        let long: Vec<u8> = (0..200).collect();
        recent.keep(1, 0, &long, 1000);
        assert_eq!(recent.kept(1, 0, 1000), &long[200 - CARRY..]);
        assert!(recent.kept(1, 0, 1001).is_empty());
        assert!(recent.kept(1, 1, 1000).is_empty());
        recent.keep(1, 1, b"abc", 3);
        assert_eq!(recent.kept(1, 1, 3), b"abc");
        recent.forget(1);
        assert!(recent.kept(1, 0, 1000).is_empty());
    }

    #[test]
    fn nothing_is_kept_where_every_direction_has_a_window() {
        let mut recent = Recent::new(8, 4);
        recent.add(1, 1, 0);
        recent.touch(1);
        recent.keep(1, 0, b"abc", 3);
        assert_eq!(recent.oldest(), None);
        assert!(recent.kept(1, 0, 3).is_empty());
    }
}
