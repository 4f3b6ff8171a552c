//! What flow finds odd about a packet: the names of Suricata's stream events and fragment events
//! whose conditions tcp.rs, stream.rs and defrag.rs watch, and the short list that carries them from
//! the trackers to the packet's context. The numbers that rules see belong to decode::Anomaly; they
//! are looked up once, at start. No condition is decided here.

macro_rules! notices {
    ($($variant:ident = $name:literal,)+) => {
        /// An oddity, under the name by which rules know it.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum Notice { $($variant,)+ }

        impl Notice {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Notice] = &[$(Notice::$variant,)+];

            /// `stream.*`, `ipv4.*` or `ipv6.*`, as in `stream-event` and `decode-event` rules.
            pub const fn name(self) -> &'static str {
                match self { $(Notice::$variant => $name,)+ }
            }
        }
    };
}

notices! {
    AckInWrongDirection = "stream.3whs_ack_in_wrong_dir",
    AckDataInject = "stream.3whs_ack_data_inject",
    AsyncWrongSeq = "stream.3whs_async_wrong_seq",
    RightSeqWrongAck = "stream.3whs_right_seq_wrong_ack_evasion",
    WrongSeqWrongAck = "stream.3whs_wrong_seq_wrong_ack",
    SynFlood = "stream.3whs_syn_flood",
    SynResendOtherSeq = "stream.3whs_syn_resend_diff_seq_on_syn_recv",
    SynToClient = "stream.3whs_syn_toclient_on_syn_recv",
    SynAckFlood = "stream.3whs_synack_flood",
    SynAckWrongDirection = "stream.3whs_synack_in_wrong_direction",
    SynAckOtherAck = "stream.3whs_synack_resend_with_diff_ack",
    SynAckDataIgnored = "stream.3whs_synack_tfo_data_ignored",
    SynAckToServer = "stream.3whs_synack_toserver_on_syn_recv",
    SynAckWrongAck = "stream.3whs_synack_with_wrong_ack",
    SplitInvalidAck = "stream.4whs_invalid_ack",
    SplitSynAckWrongAck = "stream.4whs_synack_with_wrong_ack",
    SplitSynAckWrongSyn = "stream.4whs_synack_with_wrong_syn",
    SplitWrongSeq = "stream.4whs_wrong_seq",
    CloseWaitOutOfWindow = "stream.closewait_ack_out_of_window",
    CloseWaitFinOutOfWindow = "stream.closewait_fin_out_of_window",
    CloseWaitInvalidAck = "stream.closewait_invalid_ack",
    CloseWaitBeforeLastAck = "stream.closewait_pkt_before_last_ack",
    ClosingWrongSeq = "stream.closing_ack_wrong_seq",
    ClosingInvalidAck = "stream.closing_invalid_ack",
    EstAckZeroWindowData = "stream.est_ack_zwp_data",
    EstInvalidAck = "stream.est_invalid_ack",
    EstOutOfWindow = "stream.est_packet_out_of_window",
    EstBeforeLastAck = "stream.est_pkt_before_last_ack",
    EstSynResend = "stream.est_syn_resend",
    EstSynResendOtherSeq = "stream.est_syn_resend_diff_seq",
    EstSynToClient = "stream.est_syn_toclient",
    EstSynAckResend = "stream.est_synack_resend",
    EstSynAckOtherAck = "stream.est_synack_resend_with_diff_ack",
    EstSynAckOtherSeq = "stream.est_synack_resend_with_diff_seq",
    EstSynAckToServer = "stream.est_synack_toserver",
    Fin1WrongSeq = "stream.fin1_ack_wrong_seq",
    Fin1FinWrongSeq = "stream.fin1_fin_wrong_seq",
    Fin1InvalidAck = "stream.fin1_invalid_ack",
    Fin2WrongSeq = "stream.fin2_ack_wrong_seq",
    Fin2FinWrongSeq = "stream.fin2_fin_wrong_seq",
    Fin2InvalidAck = "stream.fin2_invalid_ack",
    FinNoSession = "stream.fin_but_no_session",
    FinInvalidAck = "stream.fin_invalid_ack",
    FinOutOfWindow = "stream.fin_out_of_window",
    FinSyn = "stream.fin_syn",
    LastAckWrongSeq = "stream.lastack_ack_wrong_seq",
    LastAckInvalidAck = "stream.lastack_invalid_ack",
    BadWindowUpdate = "stream.pkt_bad_window_update",
    BrokenAck = "stream.pkt_broken_ack",
    InvalidAck = "stream.pkt_invalid_ack",
    InvalidTimestamp = "stream.pkt_invalid_timestamp",
    Retransmission = "stream.pkt_retransmission",
    SpuriousRetransmission = "stream.pkt_spurious_retransmission",
    DepthReached = "stream.reassembly_depth_reached",
    InsertLimit = "stream.reassembly_insert_limit",
    InsertMemory = "stream.reassembly_insert_memcap",
    OverlapDifferentData = "stream.reassembly_overlap_different_data",
    SegmentBeforeBase = "stream.reassembly_segment_before_base_seq",
    SequenceGap = "stream.reassembly_seq_gap",
    UrgentLimit = "stream.reassembly_urgent_oob_limit_reached",
    RstNoSession = "stream.rst_but_no_session",
    RstInvalidAck = "stream.rst_invalid_ack",
    RstWithData = "stream.rst_with_data",
    ShutdownSynResend = "stream.shutdown_syn_resend",
    SuspectedRstInject = "stream.suspected_rst_inject",
    TimeWaitWrongSeq = "stream.timewait_ack_wrong_seq",
    TimeWaitInvalidAck = "stream.timewait_invalid_ack",
    Ipv4FragOverlap = "ipv4.frag_overlap",
    Ipv4FragTooLarge = "ipv4.frag_pkt_too_large",
    Ipv4FragIgnored = "ipv4.frag_ignored",
    Ipv6FragOverlap = "ipv6.frag_overlap",
    Ipv6FragTooLarge = "ipv6.frag_pkt_too_large",
    Ipv6FragIgnored = "ipv6.frag_ignored",
    Ipv6FragInvalidLength = "ipv6.frag_invalid_length",
}

/// Notices that one packet can collect; no path through the trackers gives more.
pub const NOTICES_MAX: usize = 8;

/// The notices of one packet, in the order in which they arose.
#[derive(Clone, Copy, Debug, Default)]
pub struct Notices {
    list: [Option<Notice>; NOTICES_MAX],
    count: usize,
}

impl Notices {
    /// Adds one; a notice beyond the bound is let go (the packet has eight already).
    pub fn note(&mut self, notice: Notice) {
        if let Some(place) = self.list.get_mut(self.count) {
            *place = Some(notice);
            self.count += 1;
        }
    }

    /// What was noted.
    pub fn iter(&self) -> impl Iterator<Item = Notice> + '_ {
        self.list.iter().take(self.count).flatten().copied()
    }

    /// Whether this one was noted.
    pub fn has(&self, notice: Notice) -> bool {
        self.iter().any(|noted| noted == notice)
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_list_is_bounded() {
        let mut names: Vec<_> = Notice::ALL.iter().map(|n| n.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Notice::ALL.len());
        let mut notices = Notices::default();
        for notice in Notice::ALL.iter().take(NOTICES_MAX + 3) {
            notices.note(*notice);
        }
        assert_eq!(notices.iter().count(), NOTICES_MAX);
    }
}
