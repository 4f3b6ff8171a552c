//! The emulated machine's registration and closing: regions, rings and buffers are made, granted
//! and taken back here, as the kernel does it (emulation.rs says what for).

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use netmap_sys::{PortInfo, Register, flag, mode};

use super::kernel::Kring;
use super::{Bound, Kind, Memory, Owner, State, Violation, errno, eventfd};
use crate::port::netmap::provider::with_info;
use crate::port::ring::{BUFFER_INDEX_MIN, BUFS_HEAD_AT, RING_OFFSETS_AT, Ring, Slot};

impl State {
    /// The region of a port: the one it has, the one asked for, or a new one.
    pub(super) fn region_of(&mut self, port: usize, asked: u16) -> io::Result<usize> {
        let wanted = usize::from(asked).checked_sub(1);
        if let Some(region) = self.ports[port].region {
            return match wanted {
                Some(other) if other != region && !self.faults.own_regions => {
                    Err(errno(libc::EINVAL))
                }
                _ => Ok(region),
            };
        }
        let is_nic = matches!(self.ports[port].kind, Kind::Nic(_));
        let region = match wanted {
            _ if self.faults.own_regions => self.new_region()?,
            Some(region) if region < self.regions.len() => region,
            Some(_) => return Err(errno(libc::ENOENT)),
            // NICs share the first region.
            None if is_nic && !self.regions.is_empty() => 0,
            None => self.new_region()?,
        };
        self.ports[port].region = Some(region);
        if let Kind::Pipe(other) = self.ports[port].kind {
            self.ports[other].region = Some(region);
        }
        Ok(region)
    }

    fn new_region(&mut self) -> io::Result<usize> {
        self.regions.push(Memory::new(&self.shape)?);
        Ok(self.regions.len() - 1)
    }

    pub(super) fn register(
        &mut self,
        name: &str,
        asked: &Register,
    ) -> io::Result<(usize, Register)> {
        if let Some(number) = self.faults.refuse {
            return Err(errno(number));
        }
        let one_way = flag::RX_RINGS_ONLY | flag::TX_RINGS_ONLY;
        if self.faults.both_ways_only && asked.flags & one_way != 0 {
            return Err(errno(libc::EINVAL));
        }
        let port = self.resolve(name)?;
        let region = self.region_of(port, asked.mem_id)?;
        let rings = usize::from(self.ports[port].rings);
        let is_nic = matches!(self.ports[port].kind, Kind::Nic(_));
        let selected: Vec<usize> = match asked.mode {
            mode::ALL_NIC => (0..rings).collect(),
            mode::ONE_NIC if usize::from(asked.ringid) < rings => vec![asked.ringid.into()],
            mode::SW if is_nic => vec![rings],
            mode::ONE_SW if is_nic && asked.ringid == 0 => vec![rings],
            _ => return Err(errno(libc::EINVAL)),
        };
        if asked.flags & flag::EXCLUSIVE != 0 && self.ports[port].users > 0 {
            return Err(errno(libc::EBUSY));
        }
        self.make_rings(port, region)?;
        let pick = |without: u64| match asked.flags & without {
            0 => selected.clone(),
            _ => Vec::new(),
        };
        let (tx, rx) = (pick(flag::RX_RINGS_ONLY), pick(flag::TX_RINGS_ONLY));
        let interface_at = self.make_interface(port, region, &tx, &rx)?;
        let granted = self.grant(region, interface_at, asked.extra_bufs);
        let memory = &mut self.regions[region];
        memory.users += 1;
        let memsize = memory.mapping.len() as u64;
        self.ports[port].users += 1;
        let number = self.bound.len();
        self.bound.push(Some(Bound {
            port,
            generation: self.ports[port].generation,
            interface_at,
            region,
            tx,
            rx,
            busy: Arc::default(),
        }));
        let info = self.info(port, region);
        let granted = Register {
            offset: interface_at as u64,
            memsize,
            extra_bufs: granted,
            ..with_info(*asked, &info)
        };
        Ok((number, granted))
    }

    pub(super) fn info(&self, port: usize, region: usize) -> PortInfo {
        let port = &self.ports[port];
        let host = u16::from(matches!(port.kind, Kind::Nic(_)));
        PortInfo {
            tx_slots: self.shape.slots,
            rx_slots: self.shape.slots,
            tx_rings: port.rings,
            rx_rings: port.rings,
            host_tx_rings: host,
            host_rx_rings: host,
            mem_id: region as u16 + 1,
            ..PortInfo::default()
        }
    }

    /// Writes a netmap_if whose bound rings have a place; the others have none.
    fn make_interface(
        &mut self,
        port: usize,
        region: usize,
        tx: &[usize],
        rx: &[usize],
    ) -> io::Result<usize> {
        let info = self.info(port, region);
        let Some(at) = self.regions[region].interfaces_free.pop() else {
            return Err(errno(libc::ENOMEM));
        };
        let memory = &self.regions[region];
        let port = &self.ports[port];
        memory.set(at + 16, u32::from(netmap_sys::API));
        memory.set(at + 24, u32::from(info.tx_rings));
        memory.set(at + 28, u32::from(info.rx_rings));
        memory.set(at + BUFS_HEAD_AT, 0);
        memory.set(at + 36, u32::from(info.host_tx_rings));
        memory.set(at + 40, u32::from(info.host_rx_rings));
        let all = port.tx.len();
        for (number, kring) in port.tx.iter().chain(&port.rx).enumerate() {
            let bound = match number.checked_sub(all) {
                None => tx.contains(&number),
                Some(number) => rx.contains(&number),
            };
            let distance = match bound {
                true => kring.at.wrapping_sub(at) as u64,
                false => 0,
            };
            memory
                .mapping
                .double(at + RING_OFFSETS_AT + number * 8)
                .store(distance, Ordering::Release);
        }
        Ok(at)
    }

    /// Grants extra buffers, linked behind the netmap_if; says how many.
    fn grant(&mut self, region: usize, interface_at: usize, asked: u32) -> u32 {
        let asked = asked.min(self.faults.extra_max.unwrap_or(u32::MAX));
        let buf_size = self.shape.buf_size as usize;
        let memory = &mut self.regions[region];
        let (mut head, mut granted) = (0, 0);
        while granted < asked
            && let Some(index) = memory.take(Owner::User)
        {
            memory.set(memory.buffers_at + index as usize * buf_size, head);
            head = index;
            granted += 1;
        }
        memory.set(interface_at + BUFS_HEAD_AT, head);
        granted
    }

    /// Makes the rings of a port (of a pipe: of both its ends), unless it has them.
    fn make_rings(&mut self, port: usize, region: usize) -> io::Result<()> {
        if !self.ports[port].tx.is_empty() {
            return Ok(());
        }
        let (kind, rings) = (self.ports[port].kind, usize::from(self.ports[port].rings));
        let host = usize::from(matches!(kind, Kind::Nic(_)));
        if let Kind::Pipe(other) = kind {
            for end in [port, other] {
                let tx = self.make_ring(region, true)?;
                self.ports[end].tx.push(tx);
            }
            for (end, from) in [(port, other), (other, port)] {
                let mut rx = self.make_ring(region, false)?;
                // Both rings of a pipe name the transmitter's buffers.
                rx.mirror(&self.ports[from].tx[0]);
                self.ports[end].rx.push(rx);
            }
            return Ok(());
        }
        for _ in 0..rings + host {
            let tx = self.make_ring(region, true)?;
            self.ports[port].tx.push(tx);
            let mut rx = self.make_ring(region, false)?;
            self.fill(region, &mut rx)?;
            self.ports[port].rx.push(rx);
        }
        self.ports[port].queues = vec![VecDeque::new(); rings + host];
        Ok(())
    }

    /// A ring; that of a transmitter has buffers, which are the application's.
    fn make_ring(&mut self, region: usize, transmitting: bool) -> io::Result<Kring> {
        let (slots, buf_size) = (self.shape.slots, self.shape.buf_size);
        let memory = &mut self.regions[region];
        let Some(at) = memory.rings_free.pop() else {
            return Err(errno(libc::ENOMEM));
        };
        let buf_ofs = (memory.buffers_at as i64 - at as i64) as u64;
        memory.mapping.double(at).store(buf_ofs, Ordering::Release);
        memory.set(at + 8, slots);
        memory.set(at + 12, buf_size);
        memory.set(at + 20, 0);
        memory.set(at + 24, 0);
        memory.set(at + 28, if transmitting { slots - 1 } else { 0 });
        let ring = Ring::new(Arc::clone(&memory.mapping), at)
            .map_err(|error| io::Error::other(error.what))?;
        let mut kring = Kring::new(ring, at, eventfd()?);
        if transmitting {
            kring.hwtail = slots - 1;
            self.fill(region, &mut kring)?;
        }
        Ok(kring)
    }

    /// Gives every slot of a ring a buffer.
    fn fill(&mut self, region: usize, kring: &mut Kring) -> io::Result<()> {
        let memory = &mut self.regions[region];
        for slot in 0..kring.ring.num_slots() {
            let ours = kring.is_users(slot);
            let owner = if ours { Owner::User } else { Owner::Kernel };
            let Some(index) = memory.take(owner) else {
                return Err(errno(libc::ENOMEM));
            };
            let value = Slot {
                index,
                ..Slot::default()
            };
            kring.set(slot, value);
        }
        Ok(())
    }

    /// Closes a descriptor: frees its list of extra buffers, and the rings with the last user.
    pub(super) fn close(&mut self, number: usize) {
        let Some(bound) = self.bound.get_mut(number).and_then(Option::take) else {
            return;
        };
        let buf_size = self.shape.buf_size as usize;
        let memory = &mut self.regions[bound.region];
        let word = |at: usize| memory.mapping.word(at).load(Ordering::Acquire);
        let mut head = word(bound.interface_at + BUFS_HEAD_AT);
        let mut stale = 0;
        while head != 0 {
            let next = match (head as usize) < memory.owners.len() {
                true => memory
                    .mapping
                    .word(memory.buffers_at + head as usize * buf_size)
                    .load(Ordering::Acquire),
                false => 0,
            };
            let users = memory.owners.get(head as usize) == Some(&Owner::User);
            if !users || !memory.give(head) {
                stale += 1;
                break;
            }
            head = next;
        }
        memory.interfaces_free.push(bound.interface_at);
        self.violations[Violation::StaleList as usize] += stale;
        self.ports[bound.port].users -= 1;
        self.unmake_rings(bound.port, bound.region);
        let memory = &mut self.regions[bound.region];
        memory.users -= 1;
        if memory.users == 0 {
            self.reset_region(bound.region);
        }
    }

    /// Frees the rings of a port that nobody uses any more (of a pipe: of both ends).
    fn unmake_rings(&mut self, port: usize, region: usize) {
        let other = match self.ports[port].kind {
            Kind::Pipe(other) => Some(other),
            _ => None,
        };
        if self.ports[port].users > 0 || other.is_some_and(|other| self.ports[other].users > 0) {
            return;
        }
        let mut indexes = Vec::new();
        if let Some(other) = other {
            for (from, to) in [(port, other), (other, port)] {
                let (tx, rx) = (&self.ports[from].tx[0], &self.ports[to].rx[0]);
                indexes.extend(rx.pipe_indexes(tx));
            }
        } else {
            let port = &self.ports[port];
            for kring in port.tx.iter().chain(&port.rx) {
                let slots = 0..kring.ring.num_slots();
                indexes.extend(slots.map(|slot| kring.ring.slot(slot).index));
            }
        }
        let memory = &mut self.regions[region];
        let twice = indexes
            .into_iter()
            .filter(|index| !memory.give(*index))
            .count();
        self.violations[Violation::BufferTwice as usize] += twice as u64;
        for end in [Some(port), other].into_iter().flatten() {
            let ended = &mut self.ports[end];
            let rings = ended.tx.drain(..).chain(ended.rx.drain(..));
            self.regions[region]
                .rings_free
                .extend(rings.map(|kring| kring.at));
            ended.queues.clear();
            if !matches!(ended.kind, Kind::Nic(_)) {
                ended.region = None;
            }
        }
    }

    /// With its last descriptor a region forgets who had its buffers, as the kernel's does.
    fn reset_region(&mut self, region: usize) {
        let memory = &mut self.regions[region];
        let all = memory.owners.len() - BUFFER_INDEX_MIN as usize;
        self.leaked += (all - memory.free.len()) as u64;
        memory.owners[BUFFER_INDEX_MIN as usize..].fill(Owner::Pool);
        memory.free = (BUFFER_INDEX_MIN..memory.owners.len() as u32)
            .rev()
            .collect();
    }
}
