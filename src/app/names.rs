//! Names that a parser remembers by a key of four words (of open files, of calls): bounded, the
//! oldest is forgotten.

use super::heap::{Heap, Text};
use super::output::Output;
use super::table::Table;

/// Bytes of a name that are kept.
const NAME_MAX: usize = 512;

/// The names of a flow: `[key 4, text 3]`.
#[derive(Debug, Default)]
pub struct Names {
    table: Table<7>,
}

impl Names {
    /// Remembers the name in `shared.scratch`.
    pub fn put(&mut self, out: &mut Output<'_>, most: usize, key: [u32; 4]) {
        let shared = &mut *out.shared;
        let heap = &mut shared.heap;
        self.remove(heap, key);
        let mut text = Text::default();
        let name = shared.scratch.as_slice();
        if !heap.append(&mut text, name.get(..NAME_MAX).unwrap_or(name)) {
            return;
        }
        let [a, b, c] = text.into_parts();
        let entry = [key[0], key[1], key[2], key[3], a, b, c];
        if let Some(out) = self.table.push(heap, most, &entry) {
            heap.free(Heap::of_parts([out[4], out[5], out[6]]));
        }
    }

    /// Forgets a name.
    pub fn remove(&mut self, heap: &mut Heap, key: [u32; 4]) {
        if let Some((place, _)) = self.table.find(heap, |name| name.starts_with(&key))
            && let Some(old) = self.table.remove(heap, place)
        {
            heap.free(Heap::of_parts([old[4], old[5], old[6]]));
        }
    }

    /// Copies a name into `shared.scratch`, which is empty if there is none; whether there is one.
    pub fn copy(&self, out: &mut Output<'_>, key: [u32; 4]) -> bool {
        let shared = &mut *out.shared;
        shared.scratch.clear();
        let Some((_, entry)) = self.table.find(&shared.heap, |name| name.starts_with(&key)) else {
            return false;
        };
        let name = shared.heap.slice_of(entry[4], entry[5]);
        shared.scratch.extend_from_slice(name);
        true
    }

    /// Gives the memory back.
    pub fn free(&mut self, heap: &mut Heap) {
        while let Some(entry) = self.table.pop(heap) {
            heap.free(Heap::of_parts([entry[4], entry[5], entry[6]]));
        }
        self.table.clear(heap);
    }
}
