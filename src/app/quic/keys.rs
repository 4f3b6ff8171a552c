//! Keys of QUIC's Initial packets (RFC 9001 5, RFC 9369 3.3.1, the drafts before them): derived
//! from the connection id that the client chose, so that anyone on the path can read those packets.

use aes::Aes128;
use aes::cipher::{BlockEncrypt, KeyInit};
use aes_gcm::Aes128Gcm;
use aes_gcm::aead::AeadInPlace;
use sha2::{Digest, Sha256};

/// QUIC version 2.
pub const VERSION_2: u32 = 0x6b33_43cf;
/// Bytes of the authentication tag.
pub const TAG: usize = 16;
/// Bytes of the sample that header protection is made from.
pub const SAMPLE: usize = 16;
const HASH: usize = 32;
const BLOCK: usize = 64;

/// What protects the packets of one side.
#[derive(Clone, Copy, Default, Debug)]
pub struct Keys {
    key: [u8; 16],
    iv: [u8; 12],
    header: [u8; 16],
}

/// Keys of client and server, or None of a version whose salt is not known.
pub fn initial(version: u32, connection: &[u8]) -> Option<[Keys; 2]> {
    let secret = hmac(salt(version)?, &[connection]);
    Some([
        Keys::new(&expand::<HASH>(&secret, b"client in"), version),
        Keys::new(&expand::<HASH>(&secret, b"server in"), version),
    ])
}

/// RFC 9001 5.2 and its drafts.
fn salt(version: u32) -> Option<&'static [u8]> {
    let salt: &[u8; 20] = match version {
        0x5130_3530 => {
            b"\x50\x45\x74\xef\xd0\x66\xfe\x2f\x9d\x94\x5c\xfc\xdb\xd3\xa7\xf0\xd3\xb5\x6b\x45"
        }
        0xff00_001d..=0xff00_0020 => {
            b"\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99"
        }
        0xface_b002 | 0xff00_0017..=0xff00_001c => {
            b"\xc3\xee\xf7\x12\xc7\x2e\xbb\x5a\x11\xa7\xd2\x43\x2b\xb4\x63\x65\xbe\xf9\xf5\x02"
        }
        1 | 0xff00_0021..=0xff00_0022 => {
            b"\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a"
        }
        VERSION_2 => {
            b"\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9"
        }
        _ => return None,
    };
    Some(salt)
}

/// HMAC (RFC 2104) with SHA-256; keys are never longer than a block here.
fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; HASH] {
    let pad = |with: u8| {
        let mut block = [with; BLOCK];
        for (place, byte) in block.iter_mut().zip(key) {
            *place ^= byte;
        }
        block
    };
    let mut inner = Sha256::new();
    inner.update(pad(0x36));
    for part in parts {
        inner.update(part);
    }
    let mut outer = Sha256::new();
    outer.update(pad(0x5c));
    outer.update(inner.finalize());
    outer.finalize().into()
}

/// HKDF-Expand-Label (RFC 8446 7.1) without context; one block of output is enough for all uses.
fn expand<const LENGTH: usize>(secret: &[u8; HASH], label: &[u8]) -> [u8; LENGTH] {
    const { assert!(LENGTH <= HASH) };
    const PREFIX: &[u8] = b"tls13 ";
    let head = [0, LENGTH as u8, (PREFIX.len() + label.len()) as u8];
    let block = hmac(secret, &[&head, PREFIX, label, &[0, 1]]);
    std::array::from_fn(|place| block[place])
}

impl Keys {
    fn new(secret: &[u8; HASH], version: u32) -> Keys {
        let (key, iv, header): (&[u8], &[u8], &[u8]) = match version {
            VERSION_2 => (b"quicv2 key", b"quicv2 iv", b"quicv2 hp"),
            _ => (b"quic key", b"quic iv", b"quic hp"),
        };
        Keys {
            key: expand(secret, key),
            iv: expand(secret, iv),
            header: expand(secret, header),
        }
    }

    /// The mask over the first byte and the packet number (RFC 9001 5.4.3).
    pub fn mask(&self, sample: &[u8; SAMPLE]) -> [u8; SAMPLE] {
        let mut block = (*sample).into();
        Aes128::new(&self.header.into()).encrypt_block(&mut block);
        block.into()
    }

    /// Appends the protected payload of a packet to its head.
    #[cfg(test)]
    pub fn seal_for_tests(&self, number: u8, out: &mut Vec<u8>, payload: &[u8]) {
        let mut nonce = self.iv;
        nonce[11] ^= number;
        let mut text = payload.to_vec();
        let tag = Aes128Gcm::new(&self.key.into())
            .encrypt_in_place_detached(&nonce.into(), out, &mut text)
            .expect("short enough");
        out.extend_from_slice(&text);
        out.extend_from_slice(&tag);
    }

    /// Opens the packet in place: `payload` ends with the tag. False: it is not ours, or forged.
    pub fn open(&self, number: u32, head: &[u8], payload: &mut [u8]) -> bool {
        let mut nonce = self.iv;
        for (place, byte) in nonce.iter_mut().skip(8).zip(number.to_be_bytes()) {
            *place ^= byte;
        }
        let Some(at) = payload.len().checked_sub(TAG) else {
            return false;
        };
        let Some((text, tag)) = payload.split_at_mut_checked(at) else {
            return false;
        };
        let Ok(tag) = <[u8; TAG]>::try_from(&*tag) else {
            return false;
        };
        Aes128Gcm::new(&self.key.into())
            .decrypt_in_place_detached(&nonce.into(), head, text, &tag.into())
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9001 appendix A.1.
    #[test]
    fn the_keys_of_the_standard_come_out() {
        let connection = b"\x83\x94\xc8\xf0\x3e\x51\x57\x08";
        let [client, server] = initial(1, connection).unwrap();
        assert_eq!(
            client.key,
            *b"\x1f\x36\x96\x13\xdd\x76\xd5\x46\x77\x30\xef\xcb\xe3\xb1\xa2\x2d"
        );
        assert_eq!(
            client.iv,
            *b"\xfa\x04\x4b\x2f\x42\xa3\xfd\x3b\x46\xfb\x25\x5c"
        );
        assert_eq!(
            client.header,
            *b"\x9f\x50\x44\x9e\x04\xa0\xe8\x10\x28\x3a\x1e\x99\x33\xad\xed\xd2"
        );
        assert_eq!(
            server.key,
            *b"\xcf\x3a\x53\x31\x65\x3c\x36\x4c\x88\xf0\xf3\x79\xb6\x06\x7e\x37"
        );
        assert!(initial(0x5130_3433, connection).is_none());
    }

    /// RFC 9001 appendix A.2.
    #[test]
    fn the_mask_of_the_standard_comes_out() {
        let [client, _] = initial(1, b"\x83\x94\xc8\xf0\x3e\x51\x57\x08").unwrap();
        let sample = b"\xd1\xb1\xc9\x8d\xd7\x68\x9f\xb8\xec\x11\xd2\x42\xb1\x23\xdc\x9b";
        assert_eq!(client.mask(sample)[..5], *b"\x43\x7b\x9a\xec\x36");
    }
}
