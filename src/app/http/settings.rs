//! What the HTTP parsers of a lane share: the settings (Suricata's keys under
//! `app-layer.protocols.http.libhtp.default-config`), and memory that each of them uses in turn.

use super::super::output::{Limits, is_on, size};
use super::brotli::Brotli;
use super::coding::{Codings, LAYERS_MAX, Swf};
use super::head::Head;
use super::lzma::Lzma;
use super::multipart;
use super::uri::Rules;

/// Bytes that a decoder takes.
const DECODER_BYTES: usize = 44 << 10;
/// Decoders of a lane: at least, at most.
const DECODERS: (usize, usize) = (8, 1024);
/// Decoders of brotli (which are large) of a lane: at least, at most.
const BROTLIS: (usize, usize) = (2, 64);
/// Decoders of LZMA of a lane, where settings ask for them: at least, at most.
const LZMAS: (usize, usize) = (2, 64);
/// Window of brotli and LZMA where bodies are limited: at least, at most.
const WINDOW: (usize, usize) = (128 << 10, 1 << 20);

/// Settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Normalisation of targets.
    pub uri: Rules,
    /// Codings of one body that are decoded.
    pub layers: usize,
    /// Bytes of a line of the framing at most (`meta-field-limit`).
    pub line: usize,
    /// Bodies in LZMA are decoded (`lzma-enabled`).
    pub lzma: bool,
    /// Packed Flash files are opened (`swf-decompression`).
    pub swf: Swf,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            uri: Rules::default(),
            layers: 2,
            line: 18_000,
            lzma: false,
            swf: Swf::default(),
        }
    }
}

impl Settings {
    fn new(limits: &Limits) -> Settings {
        let mut settings = Settings::default();
        let (mut swf, mut kinds) = (false, (true, true));
        for (key, value) in &limits.settings {
            let Some((_, key)) = key.split_once("libhtp.default-config.") else {
                continue;
            };
            let on = is_on(value);
            let bytes = size(value).unwrap_or(0) as u64;
            match key {
                "double-decode-path" => settings.uri.double_path = on,
                "double-decode-query" => settings.uri.double_query = on,
                "path-convert-backslash-separators" => settings.uri.backslash = on,
                "path-separators-compress" => settings.uri.compress = on,
                "path-convert-lowercase" => settings.uri.lowercase = on,
                "path-u-encoding-decode" => settings.uri.percent_u = on,
                "query-plusspace-decode" => settings.uri.plus = on,
                "uri-include-all" => settings.uri.include_all = on,
                "response-body-decompress-layer-limit" => {
                    settings.layers = value.parse().unwrap_or(2).min(LAYERS_MAX);
                }
                "lzma-enabled" => settings.lzma = on,
                "swf-decompression.enabled" => swf = on,
                "swf-decompression.type" => kinds = (value != "lzma", value != "deflate"),
                "swf-decompression.compress-depth" => settings.swf.packed = bytes,
                "swf-decompression.decompress-depth" => settings.swf.made = bytes,
                "meta-field-limit" => settings.line = value.parse().unwrap_or(18_000),
                _ => {}
            }
        }
        (settings.swf.zlib, settings.swf.lzma) = (swf && kinds.0, swf && kinds.1);
        settings
    }
}

/// See the file's head.
#[derive(Debug)]
pub struct Tools {
    pub(super) settings: Settings,
    pub(super) head: Head,
    pub(in crate::app) codings: Codings,
    /// Room for the parts of a form.
    pub(super) room: Vec<u8>,
}

impl Tools {
    /// Everything that will be needed; decoders within `memory` bytes.
    pub fn new(limits: &Limits, memory: usize) -> Tools {
        // Bodies are looked at up to their limits; files that are kept may be longer.
        let files = limits.files.store || limits.files.hashes.contains(&true);
        let window = if files {
            WINDOW.1
        } else {
            limits.request_body.max(limits.response_body)
        };
        let window = window.next_power_of_two().clamp(WINDOW.0, WINDOW.1);
        let settings = Settings::new(limits);
        // Each kind may take its share.
        let wants_lzma = settings.lzma || settings.swf.lzma;
        let share = memory / if wants_lzma { 3 } else { 2 };
        let count = (share / DECODER_BYTES).clamp(DECODERS.0, DECODERS.1);
        let brotlis = (share / Brotli::size(window)).clamp(BROTLIS.0, BROTLIS.1);
        let lzmas = match wants_lzma {
            true => (share / Lzma::size(window)).clamp(LZMAS.0, LZMAS.1),
            false => 0,
        };
        let codings = Codings::new(count, brotlis, window);
        Tools {
            settings,
            head: Head::new(),
            codings: codings.with_lzma(lzmas, window, settings.swf),
            room: Vec::with_capacity(multipart::ROOM),
        }
    }

    /// Decoders in use.
    pub fn used(&self) -> usize {
        self.codings.used()
    }
}
