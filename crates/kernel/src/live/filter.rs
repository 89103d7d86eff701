//! libpcap's filter language (pcap-filter(7)) for packets out of files.

use pcap::{BpfInstruction, BpfProgram, Capture, Linktype};
use std::ffi::{c_int, c_uint};

/// A compiled filter.
pub struct PcapFilter {
    program: BpfProgram,
}

impl std::fmt::Debug for PcapFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PcapFilter")
            .field("instructions", &self.program.get_instructions().len())
            .finish()
    }
}

impl PcapFilter {
    /// Compiles a filter for packets of a link type, as files number it. A name in it is looked
    /// up, as libpcap does; nothing else is resolved.
    ///
    /// # Errors
    /// What libpcap says is wrong with the filter.
    pub fn compile(link: u16, filter: &str) -> Result<Self, String> {
        // Files have a number of their own for raw IP (LINKTYPE_RAW), since
        // that of libpcap (DLT_RAW) is not the same on all systems.
        let link = if link == 101 { 12 } else { link };
        let capture = Capture::dead(Linktype(i32::from(link))).map_err(|error| text(&error))?;
        let program = capture
            .compile(filter, true)
            .map_err(|error| text(&error))?;
        Ok(Self { program })
    }

    /// Whether a packet fulfils it: `data` of the `original_len` bytes that
    /// it had, from its link header on.
    #[must_use]
    pub fn matches(&self, data: &[u8], original_len: u32) -> bool {
        let instructions = self.program.get_instructions();
        let header = Header {
            time: libc::timeval {
                tv_sec: 0,
                tv_usec: 0,
            },
            // Lossless: no reader hands out 4 GiB.
            captured: data.len() as u32,
            original: original_len,
        };
        // The crate's own `BpfProgram::filter` takes packets for whole.
        let program = Program {
            length: instructions.len() as c_uint,
            instructions: instructions.as_ptr(),
        };
        // SAFETY: `program` and `header` have the layout of libpcap's `struct
        // bpf_program` and `struct pcap_pkthdr`. The instructions were
        // compiled by libpcap and live as long as `self.program`; `data` has
        // as many bytes as `header.captured` says. All are only read, and
        // none is kept.
        unsafe { pcap_offline_filter(&raw const program, &raw const header, data.as_ptr()) > 0 }
    }
}

/// `struct bpf_program`, pcap/bpf.h.
#[repr(C)]
struct Program {
    length: c_uint,
    instructions: *const BpfInstruction,
}

/// `struct pcap_pkthdr`, pcap/pcap.h.
#[repr(C)]
struct Header {
    time: libc::timeval,
    captured: u32,
    original: u32,
}

// SAFETY: the declaration is that of pcap/pcap.h; the library is linked by
// the `pcap` crate.
unsafe extern "C" {
    fn pcap_offline_filter(
        program: *const Program,
        header: *const Header,
        packet: *const u8,
    ) -> c_int;
}

/// libpcap's own words, without the crate's in front of them.
pub(super) fn text(error: &pcap::Error) -> String {
    match error {
        pcap::Error::PcapError(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETHERNET: u16 = 1;

    #[test]
    fn lengths_are_those_on_the_wire_not_those_captured() {
        let filter = PcapFilter::compile(ETHERNET, "greater 100").unwrap();
        assert!(filter.matches(&[0; 60], 1500));
        assert!(!filter.matches(&[0; 60], 60));
    }

    #[test]
    fn a_filter_that_is_none_is_told_in_libpcaps_words() {
        let error = PcapFilter::compile(ETHERNET, "port port").unwrap_err();
        assert!(error.contains("syntax error"), "{error}");
    }
}
