//! Decode: from the bytes of a frame to offsets, tuple, checksums and anomalies.
