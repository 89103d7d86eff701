//! The options of a TCP header in tcpdump's words.

use std::fmt::Write;

/// Appends the options, separated by commas. `tcp` is what was captured from
/// the TCP header on. Returns whether the line goes on behind them: not where
/// an option is malformed or was not captured whole.
pub(super) fn push(
    out: &mut String,
    tcp: &[u8],
    header_length: usize,
    has_ack: bool,
    sacked_from: u32,
) -> bool {
    let mut options = Options {
        bytes: tcp.get(20..).unwrap_or_default(),
        left: header_length - 20,
        has_ack,
        sacked_from,
    };
    let mut is_first = true;
    while options.left > 0 {
        if !is_first {
            out.push(',');
        }
        match options.push_next(out) {
            Ok(true) => {}
            Ok(false) => break,
            Err(Stop::Bad) => {
                out.push_str("[bad opt]");
                if !is_first {
                    out.push(']');
                }
                return false;
            }
            Err(Stop::NoKind) => {
                out.push_str(" [|tcp]");
                return false;
            }
            Err(Stop::NoValue) => {
                out.push_str(" [|tcp]");
                if !is_first {
                    out.push('>');
                }
                return false;
            }
        }
        is_first = false;
    }
    true
}

/// Why the options cannot be shown further.
enum Stop {
    /// A length that does not fit.
    Bad,
    /// The capture ends before an option's kind or length.
    NoKind,
    /// The capture ends within its value.
    NoValue,
}

struct Options<'a> {
    /// What was captured behind what was shown.
    bytes: &'a [u8],
    /// Bytes that the header has left.
    left: usize,
    has_ack: bool,
    sacked_from: u32,
}

impl<'a> Options<'a> {
    const END: u8 = 0;
    const NOP: u8 = 1;

    /// Shows one option; `false` behind the last.
    fn push_next(&mut self, out: &mut String) -> Result<bool, Stop> {
        let kind = self.byte()?;
        let is_single = matches!(kind, Self::END | Self::NOP);
        let mut length = 1;
        if !is_single {
            length = usize::from(self.byte()?);
            if length < 2 || length > self.left {
                return Err(Stop::Bad);
            }
            self.left -= 1;
        }
        self.left -= 1;
        push_name(out, kind);
        let taken = self.push_value(out, kind, length.saturating_sub(2))?;
        self.bytes = &self.bytes[taken..];
        self.left -= taken;
        if taken + if is_single { 1 } else { 2 } != length {
            let _ = write!(out, "[len {length}]");
        }
        Ok(kind != Self::END)
    }

    /// Shows the value of an option that says it has `length` bytes of it,
    /// and returns how many were taken: what is right for the kind, whatever
    /// the option says.
    fn push_value(&self, out: &mut String, kind: u8, length: usize) -> Result<usize, Stop> {
        let _ = match kind {
            Self::END | Self::NOP | 4 => return Ok(0),
            2 => write!(out, " {}", self.number(0, 2)?),
            3 => write!(out, " {}", self.number(0, 1)?),
            5 => return self.push_sack(out, length),
            6 | 7 | 11..=13 => write!(out, " {}", self.number(0, 4)?),
            8 => {
                self.value(8)?;
                write!(
                    out,
                    " val {} ecr {}",
                    self.number(0, 4)?,
                    self.number(4, 4)?
                )
            }
            19 => {
                out.push_str(" shared secret not supplied with -M, can't check - ");
                push_hex(out, self.value(16)?);
                return Ok(16);
            }
            28 => {
                let timeout = self.number(0, 2)?;
                let unit = if timeout & 0x8000 == 0 { 1 } else { 60 };
                // RFC 5482: a bit for the unit, fifteen for the value.
                write!(out, " 0x{timeout:x} {}", (timeout & 0x7fff) * unit)
            }
            29 => return self.push_authentication(out, length),
            34 => {
                out.push(' ');
                push_cookie(out, self.value(length)?);
                return Ok(length);
            }
            254 => return self.push_experiment(out, length),
            _ => {
                let value = self.value(length)?;
                if length > 0 {
                    out.push_str(" 0x");
                    push_hex(out, value);
                }
                return Ok(length);
            }
        };
        Ok(match kind {
            3 => 1,
            2 | 28 => 2,
            8 => 8,
            _ => 4,
        })
    }

    fn push_sack(&self, out: &mut String, length: usize) -> Result<usize, Stop> {
        if !length.is_multiple_of(8) || !self.has_ack {
            out.push_str(" invalid sack");
            return Ok(length.min(self.bytes.len()));
        }
        let _ = write!(out, " {} ", length / 8);
        for at in (0..length).step_by(8) {
            let left = self.number(at, 4)?.wrapping_sub(self.sacked_from);
            let right = self.number(at + 4, 4)?.wrapping_sub(self.sacked_from);
            let _ = write!(out, "{{{left}:{right}}}");
        }
        Ok(length)
    }

    /// RFC 5925.
    fn push_authentication(&self, out: &mut String, length: usize) -> Result<usize, Stop> {
        let value = self.value(length)?;
        match value {
            [key, next, mac @ ..] => {
                let _ = write!(out, " keyid {key} rnextkeyid {next}");
                if !mac.is_empty() {
                    out.push_str(" mac 0x");
                    push_hex(out, mac);
                }
            }
            _ => out.push_str("[bad opt]"),
        }
        Ok(length)
    }

    /// RFC 6994: experiments share two kinds and tell themselves apart by
    /// their first bytes.
    fn push_experiment(&self, out: &mut String, length: usize) -> Result<usize, Stop> {
        /// TCP Fast Open's, before it had a kind of its own.
        const FAST_OPEN: u32 = 0xf989;
        let value = self.value(length)?;
        if length < 2 {
            return Err(Stop::Bad);
        }
        match self.number(0, 2)? {
            FAST_OPEN => {
                out.push_str("tfo");
                push_cookie(out, &value[2..]);
            }
            experiment => {
                let _ = write!(out, "{experiment:04x}");
            }
        }
        Ok(length)
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        let (&byte, rest) = self.bytes.split_first().ok_or(Stop::NoKind)?;
        self.bytes = rest;
        Ok(byte)
    }

    /// The first `length` bytes of the value.
    fn value(&self, length: usize) -> Result<&'a [u8], Stop> {
        if length > self.left {
            return Err(Stop::Bad);
        }
        self.bytes.get(..length).ok_or(Stop::NoValue)
    }

    /// A number of up to four bytes in network order, within the value.
    fn number(&self, at: usize, length: usize) -> Result<u32, Stop> {
        let value = self.value(at + length)?;
        let fold = |number: u32, byte: &u8| number << 8 | u32::from(*byte);
        Ok(value[at..].iter().fold(0, fold))
    }
}

fn push_name(out: &mut String, kind: u8) {
    out.push_str(match kind {
        0 => "eol",
        1 => "nop",
        2 => "mss",
        3 => "wscale",
        4 => "sackOK",
        5 => "sack",
        6 => "echo",
        7 => "echoreply",
        8 => "TS",
        11 => "cc",
        12 => "ccnew",
        13 => "",
        19 => "md5",
        28 => "uto",
        29 => "tcp-ao",
        30 => "mptcp",
        34 => "tfo",
        254 => "exp-",
        kind => {
            let _ = write!(out, "unknown-{kind}");
            return;
        }
    });
}

/// TCP Fast Open's cookie (RFC 7413 §4.1.1): 4 to 16 bytes, an even number.
fn push_cookie(out: &mut String, cookie: &[u8]) {
    if cookie.is_empty() {
        out.push_str(" cookiereq");
    } else if !cookie.len().is_multiple_of(2) || !(4..=16).contains(&cookie.len()) {
        out.push_str(" (invalid)");
    } else {
        out.push_str(" cookie ");
        push_hex(out, cookie);
    }
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
}
