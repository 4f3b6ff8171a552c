//! What the HTTP parsers of a lane share: the settings (Suricata's keys under
//! `app-layer.protocols.http.libhtp.default-config`), and memory that each of them uses in turn.

use super::super::output::Limits;
use super::brotli::Brotli;
use super::coding::{Codings, LAYERS_MAX};
use super::head::Head;
use super::multipart;
use super::uri::Rules;

/// Bytes that a decoder takes.
const DECODER_BYTES: usize = 44 << 10;
/// Decoders of a lane: at least, at most.
const DECODERS: (usize, usize) = (8, 1024);
/// Decoders of brotli (which are large) of a lane: at least, at most.
const BROTLIS: (usize, usize) = (2, 64);
/// Window of brotli where bodies are limited: at least, at most.
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
}

impl Settings {
    fn new(limits: &Limits) -> Settings {
        let mut settings = Settings {
            uri: Rules::default(),
            layers: 2,
            line: 18_000,
        };
        for (key, value) in &limits.settings {
            let Some((_, key)) = key.split_once("libhtp.default-config.") else {
                continue;
            };
            let on = matches!(value.as_str(), "yes" | "true" | "1" | "on");
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
                "meta-field-limit" => settings.line = value.parse().unwrap_or(18_000),
                _ => {}
            }
        }
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
        // Each kind may take half.
        let count = (memory / 2 / DECODER_BYTES).clamp(DECODERS.0, DECODERS.1);
        let brotlis = (memory / 2 / Brotli::size(window)).clamp(BROTLIS.0, BROTLIS.1);
        Tools {
            settings: Settings::new(limits),
            head: Head::new(),
            codings: Codings::new(count, brotlis, window),
            room: Vec::with_capacity(multipart::ROOM),
        }
    }

    /// Decoders in use.
    pub fn used(&self) -> usize {
        self.codings.used()
    }
}
