//! Stable numbers for the names of flowbits, flow counters, variables and host bits.
//!
//! A number is the position in its list; the lists of a rule set stand beside its signatures.

use hashbrown::HashMap;

/// Names of one kind.
#[derive(Clone, Debug, Default)]
pub struct Table {
    ids: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
}

impl Table {
    /// The number of `name`, new if it has none.
    pub fn id(&mut self, name: &str) -> u32 {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = self.names.len() as u32;
        self.ids.insert(name.into(), id);
        self.names.push(name.into());
        id
    }

    /// The names, by number.
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// The name with this number.
    pub fn name(&self, id: u32) -> &str {
        self.names.get(id as usize).map_or("", |name| name)
    }
}

/// All names of a load.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// `flowbits`.
    pub flowbits: Table,
    /// `flowint`.
    pub flowints: Table,
    /// `flowvar`, and groups of expressions that flows keep.
    pub flowvars: Table,
    /// `pktvar`, and groups of expressions that packets keep.
    pub pktvars: Table,
    /// `hostbits` and `xbits`.
    pub hostbits: Table,
    /// Sets that `dataset` names.
    pub datasets: super::dataset::Datasets,
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_keeps_its_number() {
        let mut table = super::Table::default();
        assert_eq!((table.id("a"), table.id("b"), table.id("a")), (0, 1, 0));
        assert_eq!(table.name(1), "b");
    }
}
