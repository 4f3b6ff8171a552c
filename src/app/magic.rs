//! What kind of file some first bytes begin, in the words that libmagic uses for it (`file.magic`,
//! `filemagic`): the kinds that rules ask for, from the public descriptions of their formats. Unlike
//! libmagic's thousands of tests this is a short table; what is not in it is told as text or data.
//!
//! Invariant: no allocation; a text is at most [`TEXT_MAX`] bytes, and bytes of any kind have one.

use super::reader::Reader;

/// Bytes of a file that are looked at, and with which its kind is told.
pub const BYTES: usize = 512;
/// Bytes of a description.
pub const TEXT_MAX: usize = 128;

/// Kinds that are told by their first bytes alone: those, where they stand, the description.
const FIXED: &[(&[u8], usize, &str)] = &[
    (b"\xff\xd8\xff\xe0", 0, "JPEG image data, JFIF standard"),
    (b"\xff\xd8\xff\xe1", 0, "JPEG image data, Exif standard"),
    (b"\xff\xd8\xff", 0, "JPEG image data"),
    (b"Rar!\x1a\x07\x01", 0, "RAR archive data, v5"),
    (b"Rar!\x1a\x07", 0, "RAR archive data, v4"),
    (b"7z\xbc\xaf\x27\x1c", 0, "7-zip archive data"),
    (b"\x1f\x8b", 0, "gzip compressed data"),
    (b"\x1f\x9d", 0, "compress'd data"),
    (b"BZh", 0, "bzip2 compressed data"),
    (b"\xfd7zXZ\0", 0, "XZ compressed data"),
    (b"\x28\xb5\x2f\xfd", 0, "Zstandard compressed data"),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        0,
        "Composite Document File V2 Document",
    ),
    (b"{\\rtf", 0, "Rich Text Format data"),
    (b"%!PS", 0, "PostScript document text"),
    (b"MSCF\0\0\0\0", 0, "Microsoft Cabinet archive data"),
    (b"ITSF", 0, "MS Windows HtmlHelp Data"),
    (b"L\0\0\0\x01\x14\x02\0", 0, "MS Windows shortcut"),
    (b"\0\0\x01\0", 0, "MS Windows icon resource"),
    (b"BM", 0, "PC bitmap"),
    (b"II*\0", 0, "TIFF image data, little-endian"),
    (b"MM\0*", 0, "TIFF image data, big-endian"),
    (b"WEBP", 8, "RIFF (little-endian) data, Web/P image"),
    (b"AVI ", 8, "RIFF (little-endian) data, AVI"),
    (b"WAVE", 8, "RIFF (little-endian) data, WAVE audio"),
    (b"ftyp", 4, "ISO Media"),
    (b"OggS", 0, "Ogg data"),
    (b"ID3", 0, "Audio file with ID3"),
    (b"fLaC", 0, "FLAC audio bitstream data"),
    (b"FLV\x01", 0, "Macromedia Flash Video"),
    (b"\x1a\x45\xdf\xa3", 0, "EBML file"),
    (b"SQLite format 3\0", 0, "SQLite 3.x database"),
    (b"ustar", 257, "POSIX tar archive"),
    (b"!<arch>\n", 0, "current ar archive"),
    (b"\xed\xab\xee\xdb", 0, "RPM v3.0"),
    (b"dex\n", 0, "Dalvik dex file"),
    (
        b"\xd4\xc3\xb2\xa1",
        0,
        "pcap capture file, microsecond ts (little-endian)",
    ),
    (
        b"\xa1\xb2\xc3\xd4",
        0,
        "pcap capture file, microsecond ts (big-endian)",
    ),
    (b"-----BEGIN CERTIFICATE", 0, "PEM certificate"),
    (b"-----BEGIN RSA PRIVATE", 0, "PEM RSA private key"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", 0, "Microsoft ASF"),
    (b"wOFF", 0, "Web Open Font Format"),
    (b"wOF2", 0, "Web Open Font Format (Version 2)"),
    (b"\0\x01\0\0\0", 0, "TrueType Font data"),
];

/// A description that is being written.
#[derive(Debug)]
pub struct Words {
    text: [u8; TEXT_MAX],
    length: usize,
}

impl Words {
    fn new() -> Words {
        Words {
            text: [0; TEXT_MAX],
            length: 0,
        }
    }

    /// The description.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or(&[])
    }
}

impl std::fmt::Write for Words {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let Some(place) = self.text.get_mut(self.length..self.length + text.len()) else {
            return Err(std::fmt::Error);
        };
        place.copy_from_slice(text.as_bytes());
        self.length += text.len();
        Ok(())
    }
}

/// Describes a file by its first bytes: up to [`BYTES`] of them, or all that it has.
pub fn describe(bytes: &[u8]) -> Words {
    let bytes = bytes.get(..BYTES).unwrap_or(bytes);
    let mut words = Words::new();
    // What does not fit is cut; the tests hold that nothing is.
    let _ = write(bytes, &mut words);
    words
}

fn write(bytes: &[u8], out: &mut Words) -> std::fmt::Result {
    use std::fmt::Write;
    if let Some(told) = structured(bytes, out) {
        return told;
    }
    let fixed = FIXED
        .iter()
        .find(|(start, at, _)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(start)));
    if let Some((.., text)) = fixed {
        return out.write_str(text);
    }
    text(bytes, out)
}

/// Kinds whose first fields are told, too; `None` if it is none of them.
fn structured(bytes: &[u8], out: &mut Words) -> Option<std::fmt::Result> {
    use std::fmt::Write;
    let after = |start: &[u8]| bytes.strip_prefix(start);
    if let Some(rest) = after(b"%PDF-") {
        let version = rest.get(..3).unwrap_or(rest);
        let version = std::str::from_utf8(version).unwrap_or("?");
        return Some(write!(out, "PDF document, version {version}"));
    }
    if let Some(rest) = after(b"GIF8") {
        let version = if rest.starts_with(b"9a") {
            "89a"
        } else {
            "87a"
        };
        let mut at = Reader::new(rest.get(2..).unwrap_or(&[]));
        let (width, height) = (at.le16().unwrap_or(0), at.le16().unwrap_or(0));
        let written = write!(out, "GIF image data, version {version}, {width} x {height}");
        return Some(written);
    }
    if let Some(rest) = after(b"\x89PNG\r\n\x1a\n") {
        let mut at = Reader::new(rest.get(8..).unwrap_or(&[]));
        let (width, height) = (at.u32().unwrap_or(0), at.u32().unwrap_or(0));
        return Some(write!(out, "PNG image data, {width} x {height}"));
    }
    for (start, kind) in [
        (&b"FWS"[..], "Macromedia Flash data"),
        (b"CWS", "Macromedia Flash data (compressed)"),
        (b"ZWS", "Macromedia Flash data (lzma compressed)"),
    ] {
        if let Some([version @ 1..=99, ..]) = after(start) {
            return Some(write!(out, "{kind}, version {version}"));
        }
    }
    if let Some(rest) = after(b"PK\x03\x04") {
        return Some(out.write_str(archive(bytes, rest)));
    }
    if let Some(rest) = after(b"\xca\xfe\xba\xbe") {
        let mut at = Reader::new(rest);
        let (minor, major) = (at.u16().unwrap_or(0), at.u16().unwrap_or(0));
        // Few are the architectures of a Mach-O file, which begins alike.
        return Some(match (minor, major) {
            (0, 0..=42) => write!(out, "Mach-O universal binary with {major} architectures"),
            _ => write!(out, "compiled Java class data, version {major}.{minor}"),
        });
    }
    if after(b"\x7fELF").is_some() {
        return Some(elf(bytes, out));
    }
    after(b"MZ").map(|_| executable(bytes, out))
}

/// What an archive of the Zip form is.
fn archive(bytes: &[u8], rest: &[u8]) -> &'static str {
    let has = |name: &[u8]| memchr::memmem::find(bytes, name).is_some();
    if has(b"META-INF/") {
        return "Java archive data (JAR)";
    }
    if has(b"[Content_Types].xml") || has(b"_rels/.rels") {
        return match (has(b"word/"), has(b"xl/"), has(b"ppt/")) {
            (true, ..) => "Microsoft Word 2007+",
            (_, true, _) => "Microsoft Excel 2007+",
            (.., true) => "Microsoft PowerPoint 2007+",
            _ => "Microsoft OOXML",
        };
    }
    if has(b"mimetypeapplication/vnd.oasis.opendocument.text") {
        return "OpenDocument Text";
    }
    match rest.first() {
        Some(10) => "Zip archive data, at least v1.0 to extract",
        _ => "Zip archive data, at least v2.0 to extract",
    }
}

fn elf(bytes: &[u8], out: &mut Words) -> std::fmt::Result {
    use std::fmt::Write;
    let of = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let big = of(5) == 2;
    let half = |at: usize| {
        let pair = [of(at), of(at + 1)];
        if big {
            u16::from_be_bytes(pair)
        } else {
            u16::from_le_bytes(pair)
        }
    };
    let width = if of(4) == 2 { "64-bit" } else { "32-bit" };
    let order = if big { "MSB" } else { "LSB" };
    let kind = match half(16) {
        1 => "relocatable",
        2 => "executable",
        3 => "shared object",
        4 => "core file",
        _ => "unknown type",
    };
    let machine = match half(18) {
        3 => "Intel 80386",
        8 => "MIPS",
        20 => "PowerPC",
        40 => "ARM",
        62 => "x86-64",
        183 => "ARM aarch64",
        _ => "another machine",
    };
    write!(
        out,
        "ELF {width} {order} {kind}, {machine}, version 1 (SYSV)"
    )
}

/// MS-DOS and Windows programs (Microsoft's PE format).
fn executable(bytes: &[u8], out: &mut Words) -> std::fmt::Result {
    use std::fmt::Write;
    let place = bytes
        .get(0x3c..0x40)
        .and_then(|field| Reader::new(field).le32());
    let header = place.and_then(|at| bytes.get(at as usize..));
    let Some(header) = header.and_then(|rest| rest.strip_prefix(b"PE\0\0")) else {
        return out.write_str("MS-DOS executable");
    };
    let half = |at: usize| {
        let pair = header.get(at..at + 2).and_then(|pair| pair.try_into().ok());
        pair.map_or(0, u16::from_le_bytes)
    };
    let wide = if half(20) == 0x20b { "PE32+" } else { "PE32" };
    let library = if half(18) & 0x2000 != 0 { " (DLL)" } else { "" };
    let window = match half(20 + 68) {
        1 => " (native)",
        2 => " (GUI)",
        3 => " (console)",
        _ => "",
    };
    let machine = match half(0) {
        0x14c => "Intel 80386",
        0x8664 => "x86-64",
        0x1c0 | 0x1c4 => "ARM",
        0xaa64 => "Aarch64",
        _ => "another machine",
    };
    write!(
        out,
        "{wide} executable{library}{window} {machine}, for MS Windows"
    )
}

/// Text of some kind, or data.
fn text(bytes: &[u8], out: &mut Words) -> std::fmt::Result {
    use std::fmt::Write;
    if bytes.is_empty() {
        return out.write_str("empty");
    }
    let utf8 = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        // The last character may be cut.
        Err(error) => error.error_len().is_none() && bytes.len() >= BYTES,
    };
    let plain = |byte: &u8| matches!(byte, 7..=13 | 27 | 32..=126);
    let coding = if bytes.iter().all(plain) {
        "ASCII text"
    } else if utf8 && bytes.iter().all(|byte| plain(byte) || *byte >= 128) {
        "Unicode text, UTF-8 text"
    } else if bytes.iter().all(|byte| plain(byte) || *byte >= 160) {
        "ISO-8859 text"
    } else {
        return out.write_str("data");
    };
    let start = bytes.trim_ascii_start();
    let begins = |word: &[u8]| {
        let head = start.get(..word.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(word))
    };
    let kind = if begins(b"<!doctype html") || begins(b"<html") || begins(b"<head") {
        "HTML document, "
    } else if begins(b"<?xml") {
        "XML 1.0 document, "
    } else if begins(b"<?php") {
        "PHP script, "
    } else if begins(b"#!/bin/sh") {
        "POSIX shell script, "
    } else if begins(b"#!/bin/bash") {
        "Bourne-Again shell script, "
    } else if begins(b"#!") {
        "a script, "
    } else {
        ""
    };
    let executable = if begins(b"#!") { " executable" } else { "" };
    let lines = match (memchr::memchr(b'\n', bytes), memchr::memchr(b'\r', bytes)) {
        (None, None) => ", with no line terminators",
        (Some(_), Some(_)) => ", with CRLF line terminators",
        (None, Some(_)) => ", with CR line terminators",
        (Some(_), None) => "",
    };
    write!(out, "{kind}{coding}{executable}{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> String {
        String::from_utf8(describe(bytes).as_bytes().to_vec()).expect("descriptions are text")
    }

    #[test]
    fn files_are_told_by_how_they_begin() {
        let mut program = vec![0; 0x140];
        program[..2].copy_from_slice(b"MZ");
        program[0x3c] = 0x80;
        program[0x80..0x86].copy_from_slice(b"PE\0\0\x4c\x01");
        program[0x84 + 20..0x84 + 22].copy_from_slice(&0x10b_u16.to_le_bytes());
        program[0x84 + 88] = 2;
        for (bytes, text) in [
            (&b"%PDF-1.4\n%"[..], "PDF document, version 1.4"),
            (b"GIF89a\x01\0\x02\0", "GIF image data, version 89a, 1 x 2"),
            (
                &program,
                "PE32 executable (GUI) Intel 80386, for MS Windows",
            ),
            (b"MZ\x90\0", "MS-DOS executable"),
            (
                b"CWS\x09rest",
                "Macromedia Flash data (compressed), version 9",
            ),
            (
                b"\x7fELF\x02\x01\x01",
                "ELF 64-bit LSB unknown type, another machine, version 1 (SYSV)",
            ),
            (
                b"PK\x03\x04\x14\0",
                "Zip archive data, at least v2.0 to extract",
            ),
            (
                b"\xca\xfe\xba\xbe\0\0\0\x32",
                "compiled Java class data, version 50.0",
            ),
            (
                b"\xff\xd8\xff\xe0\0\x10JFIF",
                "JPEG image data, JFIF standard",
            ),
            (
                b"<html>\r\n",
                "HTML document, ASCII text, with CRLF line terminators",
            ),
            (b"#!/bin/sh\n", "POSIX shell script, ASCII text executable"),
            (b"gr\xc3\xbc\xc3\x9fe\n", "Unicode text, UTF-8 text"),
            (b"\0\x01\x02\x80", "data"),
            (b"", "empty"),
        ] {
            assert_eq!(told(bytes), text, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn no_description_is_cut() {
        for (start, at, text) in FIXED {
            let mut bytes = vec![0; *at];
            bytes.extend_from_slice(start);
            assert!(text.len() <= TEXT_MAX);
            assert!(!told(&bytes).is_empty());
        }
        for first in 0..=255u8 {
            for length in [1, 2, 60, BYTES, 2 * BYTES] {
                assert!(!told(&vec![first; length]).is_empty());
            }
        }
    }
}
