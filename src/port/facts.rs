//! What the kernel knows of its interfaces: links, bridges and bonds, addresses, routes. Asked over
//! rtnetlink (rtnetlink(7)), so the answers are those of the calling thread's network namespace
//! whatever is mounted at /sys. For start and `sluice doctor`; never for a packet.

use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Messages of one dump at most: a machine with more links than that is none of ours.
const MESSAGES_MAX: usize = 1 << 16;

/// One interface.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Link {
    /// Number.
    pub index: u32,
    /// Name.
    pub name: String,
    /// `veth`, `vlan`, `bridge`, ...; empty for a NIC of its own.
    pub kind: String,
    /// Number of the bridge or bond that it belongs to.
    pub master: Option<u32>,
    /// Number of the interface that it stands on (VLANs) or is cabled to (veth).
    pub lower: Option<u32>,
    /// Longest packet.
    pub mtu: u32,
    /// Switched on.
    pub is_up: bool,
    /// A cable, and somebody at its other end.
    pub has_carrier: bool,
    /// Receive and transmit queues that the kernel has for it.
    pub queues: (u32, u32),
    /// Addresses with their prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// One route to somewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Of IPv6.
    pub is_v6: bool,
    /// Number of the interface that it leads out of.
    pub out: u32,
    /// The way to everything that no other route names.
    pub is_default: bool,
    /// Leads beyond the link's own addresses (not fe80::/10 or multicast).
    pub leads_on: bool,
}

/// All of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Interfaces.
    pub links: Vec<Link>,
    /// Routes of the main table.
    pub routes: Vec<Route>,
}

impl Facts {
    /// Asks the kernel.
    ///
    /// # Errors
    /// No netlink socket, or an answer that is none.
    pub fn read() -> std::io::Result<Facts> {
        let mut facts = Facts {
            links: links()?,
            routes: Vec::new(),
        };
        for message in dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))? {
            let RouteNetlinkMessage::NewAddress(address) = message else {
                continue;
            };
            let (index, prefix) = (address.header.index, address.header.prefix_len);
            let found = address
                .attributes
                .iter()
                .find_map(|attribute| match attribute {
                    // On links with a peer, the first is ours and the second the peer's.
                    AddressAttribute::Local(address) => Some(*address),
                    _ => None,
                });
            let found = found.or(address
                .attributes
                .iter()
                .find_map(|attribute| match attribute {
                    AddressAttribute::Address(address) => Some(*address),
                    _ => None,
                }));
            let link = facts.links.iter_mut().find(|link| link.index == index);
            if let (Some(link), Some(found)) = (link, found) {
                link.addresses.push((found, prefix));
            }
        }
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut question = RouteMessage::default();
            question.header.address_family = family;
            for message in dump(RouteNetlinkMessage::GetRoute(question))? {
                if let RouteNetlinkMessage::NewRoute(route) = message {
                    facts.routes.extend(routes_of(&route));
                }
            }
        }
        Ok(facts)
    }

    /// An interface by its name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// An interface by its number.
    pub fn by_index(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// Whether the way to everywhere else leads out of it.
    pub fn has_default_route(&self, link: &Link) -> bool {
        let mut routes = self.routes.iter();
        routes.any(|route| route.is_default && route.out == link.index)
    }

    /// Whether packets of a family could be sent on out of it.
    pub fn leads_on(&self, link: &Link, v6: bool) -> bool {
        let mut routes = self.routes.iter();
        routes.any(|route| route.out == link.index && route.is_v6 == v6 && route.leads_on)
    }
}

/// The interfaces alone, without their addresses.
///
/// # Errors
/// As [`Facts::read`].
pub fn links() -> std::io::Result<Vec<Link>> {
    let messages = dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let link = |message: &RouteNetlinkMessage| match message {
        RouteNetlinkMessage::NewLink(link) => Some(link_of(link)),
        _ => None,
    };
    Ok(messages.iter().filter_map(link).collect())
}

fn link_of(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        is_up: flags.contains(LinkFlags::Up),
        has_carrier: flags.contains(LinkFlags::LowerUp),
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(master) => link.master = Some(*master),
            LinkAttribute::Link(lower) => link.lower = Some(*lower),
            LinkAttribute::NumRxQueues(count) => link.queues.0 = *count,
            LinkAttribute::NumTxQueues(count) => link.queues.1 = *count,
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    if let LinkInfo::Kind(kind) = info {
                        link.kind = kind.to_string();
                    }
                }
            }
            _ => {}
        }
    }
    link
}

fn routes_of(message: &RouteMessage) -> Vec<Route> {
    let is_v6 = message.header.address_family == AddressFamily::Inet6;
    let main = u32::from(netlink_packet_route::route::RouteHeader::RT_TABLE_MAIN);
    let mut table = u32::from(message.header.table);
    let (mut outs, mut leads_on) = (Vec::new(), true);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Oif(out) => outs.push(*out),
            RouteAttribute::MultiPath(hops) => {
                outs.extend(hops.iter().map(|hop| hop.interface_index));
            }
            RouteAttribute::Destination(to) => {
                use netlink_packet_route::route::RouteAddress;
                if let RouteAddress::Inet6(to) = to {
                    leads_on = !to.is_unicast_link_local() && !to.is_multicast();
                }
            }
            _ => {}
        }
    }
    let is_default = message.header.destination_prefix_length == 0;
    let route = |out| Route {
        is_v6,
        out,
        is_default,
        leads_on,
    };
    match table == main {
        true => outs.into_iter().map(route).collect(),
        false => Vec::new(),
    }
}

fn talk() -> std::io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

fn send(socket: &Socket, message: RouteNetlinkMessage, flags: u16) -> std::io::Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    socket.send(&bytes, 0).map(|_| ())
}

/// Sees the messages of an answer until it is over.
fn answer(socket: &Socket, mut see: impl FnMut(RouteNetlinkMessage)) -> std::io::Result<()> {
    for _ in 0..MESSAGES_MAX {
        let (bytes, _) = socket.recv_from_full()?;
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(|error| std::io::Error::other(error.to_string()))?;
            let length = message.header.length as usize;
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) => {
                    return match error.code {
                        None => Ok(()),
                        Some(_) => Err(error.to_io()),
                    };
                }
                NetlinkPayload::InnerMessage(inner) => see(inner),
                _ => {}
            }
            if length == 0 {
                break;
            }
            // Messages are aligned to four bytes.
            at += length.next_multiple_of(4);
        }
    }
    Err(std::io::Error::other("an answer without end"))
}

fn dump(question: RouteNetlinkMessage) -> std::io::Result<Vec<RouteNetlinkMessage>> {
    let socket = talk()?;
    send(&socket, question, NLM_F_DUMP)?;
    let mut messages = Vec::new();
    answer(&socket, |message| messages.push(message))?;
    Ok(messages)
}

fn order(message: RouteNetlinkMessage, flags: u16) -> std::io::Result<()> {
    let socket = talk()?;
    send(&socket, message, NLM_F_ACK | flags)?;
    answer(&socket, |_| {})
}

/// Makes a cable (a pair of veth interfaces with one queue each): `near` here, `far` in another
/// network namespace.
///
/// # Errors
/// No right to, or a name that is taken.
pub fn make_cable(near: &str, far: &str, far_namespace: std::os::fd::RawFd) -> std::io::Result<()> {
    use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
    let queues = [LinkAttribute::NumRxQueues(1), LinkAttribute::NumTxQueues(1)];
    let mut peer = LinkMessage::default();
    peer.attributes = queues.to_vec();
    peer.attributes.push(LinkAttribute::IfName(far.to_string()));
    peer.attributes.push(LinkAttribute::NetNsFd(far_namespace));
    let mut link = LinkMessage::default();
    link.attributes = queues.to_vec();
    link.attributes
        .push(LinkAttribute::IfName(near.to_string()));
    link.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    order(
        RouteNetlinkMessage::NewLink(link),
        NLM_F_CREATE | NLM_F_EXCL,
    )
}

/// Switches an interface on.
///
/// # Errors
/// No such interface, or no right to.
pub fn set_up(name: &str) -> std::io::Result<()> {
    let mut link = LinkMessage::default();
    link.header.index = index_of(name)?;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    order(RouteNetlinkMessage::SetLink(link), 0)
}

/// Gives an interface an address.
///
/// # Errors
/// No such interface, or no right to.
pub fn add_address(name: &str, address: IpAddr, prefix: u8) -> std::io::Result<()> {
    use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
    let mut message = AddressMessage::default();
    message.header.index = index_of(name)?;
    message.header.prefix_len = prefix;
    message.header.family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.attributes = vec![
        AddressAttribute::Address(address),
        AddressAttribute::Local(address),
    ];
    let message = RouteNetlinkMessage::NewAddress(message);
    order(message, NLM_F_CREATE | NLM_F_EXCL)
}

fn index_of(name: &str) -> std::io::Result<u32> {
    let none = || std::io::Error::new(std::io::ErrorKind::NotFound, format!("no link {name}"));
    Ok(Facts::read()?.link(name).ok_or_else(none)?.index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_there_with_its_address() {
        let facts = Facts::read().unwrap();
        let loopback = facts.link("lo").expect("a loopback");
        assert_eq!(facts.by_index(loopback.index), Some(loopback));
        assert!(!facts.has_default_route(loopback));
        assert!(loopback.mtu > 1500 && loopback.master.is_none());
    }
}
