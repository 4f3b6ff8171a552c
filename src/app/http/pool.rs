//! Decoders that are made at start and lent out by number: none is made later, and none goes.

/// Things of one kind, and the numbers of those that are free.
pub(super) struct Pool<T> {
    all: Vec<T>,
    free: Vec<u16>,
}

impl<T> Pool<T> {
    /// `count` things, as many as numbers name at most.
    pub fn new(count: usize, make: impl Fn() -> T) -> Pool<T> {
        let count = count.min(usize::from(u16::MAX));
        Pool {
            all: (0..count).map(|_| make()).collect(),
            free: (0..count as u16).rev().collect(),
        }
    }

    /// How many are free.
    pub fn available(&self) -> usize {
        self.free.len()
    }

    /// Lends one out; `None` when all are.
    pub fn take(&mut self) -> Option<u16> {
        self.free.pop()
    }

    /// The one of a number.
    pub fn get_mut(&mut self, number: u16) -> Option<&mut T> {
        self.all.get_mut(usize::from(number))
    }

    /// Takes one back, if there is one to take.
    pub fn give(&mut self, number: Option<u16>) {
        // There is always room: it was taken from here.
        if self.free.len() < self.all.len() {
            self.free.extend(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_out_comes_back() {
        let mut pool = Pool::new(2, || 7);
        let (one, two) = (pool.take(), pool.take());
        assert_eq!((one, two, pool.take()), (Some(0), Some(1), None));
        *pool.get_mut(1).unwrap() = 8;
        pool.give(two);
        pool.give(None);
        assert_eq!((pool.available(), pool.take()), (1, Some(1)));
        assert_eq!((pool.get_mut(1).copied(), pool.get_mut(2)), (Some(8), None));
        pool.give(one);
        pool.give(two);
        pool.give(two);
        assert_eq!(pool.available(), 2);
    }
}
