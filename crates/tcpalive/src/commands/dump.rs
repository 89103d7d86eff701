//! `tcpalive dump`: a line for each TCP packet, with what it means for
//! keep-alive.
//!
//! * `source`: where packets come from: an interface, a file, a pipe.
//! * `meaning`: what they mean, and what is remembered for that.
//! * `output`: where they go: lines, objects, a file.

mod meaning;
mod output;
pub(super) mod source;

use crate::cli::{Failure, Found, Presentation, say};
use crate::render::dump::{Lines, Relative, Stamp, StampStyle, interface_object};
use crate::survey::find_namespaces;
use meaning::Meanings;
use output::{Output, Target};
use source::{End, Source, Stop};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tcpalive_kernel::live::{ANY, Interface, LiveOptions, Statistics, interfaces};
use tcpalive_kernel::netns::{Namespace, Scope};
use tcpalive_kernel::privileges;

/// What a line needs of a packet, tunnels included.
const SNAP_FOR_LINES: u32 = 512;
/// libpcap's most.
const SNAP_FOR_FILES: u32 = 262_144;
/// The kernel's ring, in KiB: a file is to miss nothing.
const RING_FOR_LINES: u32 = 8 << 10;
const RING_FOR_FILES: u32 = 64 << 10;
/// How long the kernel may keep packets back, in ms: what people do not
/// notice, and what makes few blocks of many packets.
const DELAY_FOR_LINES: u32 = 20;
const DELAY_FOR_FILES: u32 = 100;

/// Arguments of `dump`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tcpalive dump port 3333
  tcpalive dump -i eth0 --netns web host 192.0.2.7
  tcpalive dump -w night.pcap -c 1000000
  tcpalive dump -r night.pcapng
  ssh gateway tcpdump -U -w - tcp | tcpalive dump -r -
  tcpalive dump --json -r night.pcap | jq 'select(.kind == \"keepalive\")'

A line is tcpdump's, with numbers instead of names, and behind an arrow what the packet means
for keep-alive. Only TCP is shown, in tunnels too where a file is read. The filter is
libpcap's: see pcap-filter(7). With -w, packets go into a file that tcpdump and Wireshark
read, and no lines are printed unless --print says so.

All capabilities are given up once the capture and the files are open.

Exit codes: 0 done; 2 wrong usage, or a filter or file that is none; 3 this host or user does
not allow it; 4 failed midway, a damaged file for example: what came before was printed.")]
pub struct Args {
    /// Interface to capture on, or any: all of the network namespace
    #[arg(short = 'i', value_name = "IFACE|any", default_value = ANY)]
    interface: String,
    /// Read packets from a pcap or pcapng file instead; - is standard input
    #[arg(short = 'r', value_name = "FILE", conflicts_with_all = ["interface", "netns", "list"])]
    read: Option<PathBuf>,
    /// Write packets into a pcap file; - is standard output
    #[arg(short = 'w', value_name = "FILE")]
    write: Option<PathBuf>,
    /// Print lines also when writing a file
    #[arg(long, requires = "write")]
    print: bool,
    /// End after so many packets
    #[arg(short = 'c', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Network namespace to capture in: one by the name that `ip netns` knows
    /// it by, by its path, or a process's
    #[arg(long, value_name = "current|NAME|PATH|pid:N", default_value = "current",
        value_parser = str::parse::<Scope>)]
    netns: Scope,
    /// List the interfaces that can be captured on
    #[arg(short = 'D', long = "list-interfaces")]
    list: bool,
    /// Show sequence numbers as they stand in the packet
    #[arg(short = 'S', long)]
    absolute_sequence_numbers: bool,
    /// Time: none, or with -tt since 1970, -ttt since the line before,
    /// -tttt with the date, -ttttt since the first line
    #[arg(short = 't', action = clap::ArgAction::Count)]
    time: u8,
    /// Show only addresses and lengths, and what it means
    #[arg(short = 'q')]
    quiet: bool,
    /// Bytes of each packet to keep; 512 for lines, 262144 for files
    #[arg(short = 's', value_name = "BYTES", value_parser = clap::value_parser!(u32).range(..=262_144))]
    snap_length: Option<u32>,
    /// Room in the kernel for packets that wait; 8192 for lines, 65536 for files
    #[arg(short = 'B', value_name = "KIB", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    buffer: Option<u32>,
    /// Get each packet at once; the kernel then has room for far fewer
    #[arg(long)]
    immediate_mode: bool,
    /// Take only what is sent to this host
    #[arg(short = 'p', long)]
    no_promiscuous_mode: bool,
    /// Write each packet at once with -w
    #[arg(short = 'U', requires = "write")]
    packet_buffered: bool,
    /// Accepted for tcpdump's sake: lines never wait for others
    #[arg(short = 'l')]
    line_buffered: bool,
    /// Accepted for tcpdump's sake: names are never looked up
    #[arg(short = 'n', action = clap::ArgAction::Count)]
    numeric: u8,
    /// Packets to take, such as 'port 3333 and host 192.0.2.7'
    #[arg(value_name = "PCAP FILTER")]
    filter: Vec<String>,
}

/// Prints or writes packets until they end, or until it is told to stop.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &Args, presentation: Presentation) -> Result<Found, Failure> {
    let stamp = StampStyle::from_count(args.time).ok_or_else(|| {
        Failure::Usage("-t can be given five times at most: see `tcpalive dump --help`".into())
    })?;
    if args.list {
        return list(args, presentation.json);
    }
    let uses_stdout = args.print
        || args
            .write
            .as_deref()
            .is_none_or(|file| file == Path::new("-"));
    let stop = Stop::on_signals(uses_stdout)?;
    let filter = args.filter.join(" ");
    let mut source = match &args.read {
        Some(file) => Source::file(file, &filter, stop)?,
        None => Source::live(
            &namespace(&args.netns)?,
            &args.live_options(),
            &filter,
            stop,
        )?,
    };
    let lines = Lines {
        stamp: Stamp::new(stamp),
        relative: (!args.absolute_sequence_numbers).then(Relative::default),
        quiet: args.quiet,
        color: presentation.style.color,
    };
    let shown = match (args.write.is_none() || args.print, presentation.json) {
        (false, _) => None,
        (true, true) => Some(Target::Objects),
        (true, false) => Some(Target::Lines(lines)),
    };
    let mut output = Output::open(shown, args.write.as_deref(), args.packet_buffered, &source)?;
    // Whatever a packet does to us from here on, it does without rights.
    privileges::drop_all()?;
    if let Some(listening) = source.listening() {
        say(&listening);
    }

    let mut meanings = Meanings::default();
    let end = pass_on(&mut source, &mut output, &mut meanings, args.count);
    let closing = close(&mut source, &mut output, &meanings, presentation.json);
    match end? {
        End::Damaged(error) => Err(error),
        End::Done => closing.map(|()| Found::Nothing),
    }
}

impl Args {
    fn live_options(&self) -> LiveOptions {
        let lines = self.write.is_none();
        let choose = |own: Option<u32>, for_lines, for_files| {
            own.unwrap_or(if lines { for_lines } else { for_files })
        };
        let snap_length = match choose(self.snap_length, SNAP_FOR_LINES, SNAP_FOR_FILES) {
            // As tcpdump has it.
            0 => SNAP_FOR_FILES,
            length => length,
        };
        LiveOptions {
            interface: self.interface.clone(),
            snap_length,
            buffer: choose(self.buffer, RING_FOR_LINES, RING_FOR_FILES).saturating_mul(1024),
            delay_ms: choose(None, DELAY_FOR_LINES, DELAY_FOR_FILES),
            immediate: self.immediate_mode,
            promiscuous: !self.no_promiscuous_mode,
        }
    }
}

fn namespace(scope: &Scope) -> Result<Namespace, Failure> {
    if *scope == Scope::All {
        return Err(Failure::Usage(
            "packets are captured in one network namespace at a time: say --netns NAME, PATH, pid:N or current, and start one `tcpalive dump` for each"
                .into(),
        ));
    }
    find_namespaces(scope, true)?
        .pop()
        .ok_or_else(|| Failure::Usage("there is no such network namespace".into()))
}

fn list(args: &Args, json: bool) -> Result<Found, Failure> {
    let interfaces = interfaces(&namespace(&args.netns)?)?;
    let mut out = Vec::new();
    for (index, interface) in interfaces.iter().enumerate() {
        let Interface {
            name,
            description,
            is_up,
        } = interface;
        if json {
            interface_object(&mut out, name, description.as_deref(), *is_up);
            continue;
        }
        write!(out, "{}.{name}", index + 1)?;
        if let Some(description) = description {
            write!(out, " ({description})")?;
        }
        writeln!(out, "{}", if *is_up { "" } else { " [down]" })?;
    }
    if json {
        let count = interfaces.len();
        writeln!(out, "{{\"type\":\"summary\",\"interfaces\":{count}}}")?;
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(&out)?;
    stdout.flush()?;
    Ok(Found::Nothing)
}

/// Takes packets until there are no more, or enough.
fn pass_on(
    source: &mut Source,
    output: &mut Output,
    meanings: &mut Meanings,
    count: Option<u64>,
) -> Result<End, Failure> {
    source.each(count, &mut |event| match event {
        source::Event::Packet(packet) => {
            // Whoever only writes a file wants to miss nothing.
            let meaning = output.shows().then(|| meanings.of(packet)).flatten();
            output.packet(packet, meaning.as_ref(), meanings.late())?;
            Ok(())
        }
        source::Event::Waiting => output.flush(),
    })
}

/// Says how many packets there were.
fn close(
    source: &mut Source,
    output: &mut Output,
    meanings: &Meanings,
    json: bool,
) -> Result<(), Failure> {
    let statistics = source.statistics()?;
    let captured = source.taken();
    if json && output.shows() {
        output.summary(captured, statistics, meanings.probes(), meanings.answers())?;
    }
    output.finish()?;
    if let Some(statistics) = statistics {
        tell(captured, &statistics);
    }
    Ok(())
}

/// As tcpdump does, in its words.
fn tell(captured: u64, statistics: &Statistics) {
    let Statistics {
        received,
        dropped,
        dropped_by_interface,
    } = statistics;
    let count = |number: u64, what: &str| {
        let plural = if number == 1 { "" } else { "s" };
        // Nobody is left to be told that stderr is closed.
        let _ = writeln!(io::stderr(), "{number} packet{plural} {what}");
    };
    count(captured, "captured");
    count((*received).into(), "received by filter");
    count((*dropped).into(), "dropped by kernel");
    if *dropped_by_interface > 0 {
        count((*dropped_by_interface).into(), "dropped by interface");
    }
}
