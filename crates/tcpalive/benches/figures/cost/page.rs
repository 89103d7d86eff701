//! `docs/cost.md`, and the constants for programs. Every figure in the
//! sentences is computed from what was measured.

use super::derived::{IDLE_TIMES, Load};
use super::text::{number, percent, row, spread, table};
use super::window::Window;
use super::{Cost, FAR_AWAY, LOSING, LOSING_COUNT, ROOMY};
use crate::bench::{Bench, Spread};
use crate::report::thousands;
use tcpalive_lab::article;

/// The table is for so many connections.
const MANY: usize = 100_000;

type Machine = [(&'static str, String)];

pub(crate) fn page(machine: &Machine, bench: &Bench, cost: &Cost) -> String {
    let sections = [
        "# What keep-alive costs the kernel\n\n\
         Written by `make bench-cost`; do not edit. Every figure is measured, or computed from what was, in one run.\n"
            .to_owned(),
        answer(cost),
        guess(cost),
        bursts(cost),
        ghosts(cost),
        how(machine, bench, cost),
        details(cost),
        caveats(cost),
        format!("## For programs\n\n`{}`\n", json(cost)),
    ];
    sections.join("\n")
}

fn answer(cost: &Cost) -> String {
    let reference = cost.reference();
    let minute = cost.load(60, MANY as f64);
    let default = cost.load(FAR_AWAY, MANY as f64);
    let [objects, slab] = cost.memory_of_keep_alive();
    let calls =
        |value: &dyn Fn(&super::Calls) -> f64| Spread::of(cost.calls.iter().map(value).collect());
    let mut text = format!(
        "## The answer\n\n\
         {} idle connections with keep-alive on at one end, probed every 60 s, take {} of one core there ({} with the \
         work of the other end), {} packets and {} bytes a second, and {}. At Linux's default of {} s they take {} of \
         one core and {} packets a second.\n\n",
        thousands(MANY),
        percent(minute.own_cpu),
        percent(minute.both_cpu),
        number(minute.packets_per_s),
        number(minute.bytes_per_s),
        if is_nothing(objects.median) {
            "no memory".to_owned()
        } else {
            format!("{} bytes of memory each", number(objects.median))
        },
        thousands(FAR_AWAY as usize),
        percent(default.own_cpu),
        number(default.packets_per_s),
    );
    text += &format!("{} connections, by idle time:\n\n", thousands(MANY));
    text += &loads(cost);
    text += "\nOne connection:\n\n";
    text += &table(&[
        row(["", "Off", "On"]),
        vec![
            "Kernel memory of an idle socket".to_owned(),
            format!("{} bytes", number(cost.socket_bytes())),
            format!(
                "{} bytes more (objects of sockets: {}; all slabs of the machine, whoever uses them: {})",
                if is_nothing(objects.median) {
                    "0".to_owned()
                } else {
                    number(objects.median)
                },
                spread(objects),
                spread(slab)
            ),
        ],
        vec![
            "Processor while no probe is due".to_owned(),
            "0".to_owned(),
            far_away(cost),
        ],
        vec![
            "Probe and answer: processor of the end that probes".to_owned(),
            "–".to_owned(),
            format!("{} µs", number(cost.own_ns(reference) / 1e3)),
        ],
        vec![
            "Probe and answer: processor of both ends".to_owned(),
            "–".to_owned(),
            format!("{} µs", number(cost.both_ns(reference) / 1e3)),
        ],
        vec![
            "Probe and answer: packets".to_owned(),
            "–".to_owned(),
            format!(
                "{} of {} bytes (IP, TCP, timestamps)",
                number(cost.packets_per_probe()),
                number(cost.packet_bytes())
            ),
        ],
        vec![
            "`setsockopt(SO_KEEPALIVE)`, once".to_owned(),
            format!("{} ns to turn off", spread(calls(&|call| call.off))),
            format!(
                "{} ns to turn on; {} ns where it is on already",
                spread(calls(&|call| call.on)),
                spread(calls(&|call| call.again))
            ),
        ],
    ]);
    text
}

/// Less than a byte, either way.
fn is_nothing(bytes: f64) -> bool {
    bytes.abs() < 1.0
}

/// What timers cost that do not fire. Nothing is received because of them.
fn far_away(cost: &Cost) -> String {
    let timers = |windows: &[Window]| {
        let shares = windows.iter().map(|window| window.timer_share() * 100.0);
        Spread::of(shares.collect())
    };
    let (off, on) = (timers(&cost.off), timers(&cost.armed));
    let verdict = if on.median <= off.max {
        "nothing that could be measured"
    } else {
        "more than without"
    };
    format!(
        "{verdict}: with {} timers of {} s, timers of the whole machine took {} % of one core, without {} %",
        thousands(cost.connections),
        thousands(FAR_AWAY as usize),
        spread(on),
        spread(off)
    )
}

fn loads(cost: &Cost) -> String {
    let mut rows = vec![row([
        "Idle time",
        "",
        "Probes/s",
        "Packets/s",
        "Bytes/s",
        "One core, end that probes",
        "One core, both ends",
        "Memory",
    ])];
    let memory = cost.memory_of_keep_alive()[0].median;
    let memory = if is_nothing(memory) {
        "+0".to_owned()
    } else {
        format!("+{} MB", number(memory * MANY as f64 / 1e6))
    };
    for idle_s in IDLE_TIMES {
        let measured = cost.rates.iter().find(|rate| rate.idle_s == idle_s);
        let computed = ("computed", cost.load(idle_s, MANY as f64));
        let measured = measured.map(|rate| {
            let load = cost.measured(rate, MANY as f64);
            ("**measured**", load)
        });
        for (origin, load) in std::iter::once(computed).chain(measured) {
            let Load {
                probes_per_s,
                packets_per_s,
                bytes_per_s,
                own_cpu,
                both_cpu,
                ..
            } = load;
            rows.push(vec![
                format!("{} s", thousands(idle_s as usize)),
                origin.to_owned(),
                number(probes_per_s),
                number(packets_per_s),
                number(bytes_per_s),
                percent(own_cpu),
                percent(both_cpu),
                memory.clone(),
            ]);
        }
    }
    table(&rows)
}

fn guess(cost: &Cost) -> String {
    let all = cost.load(60, cost.connections as f64);
    let default = cost.load(FAR_AWAY, cost.connections as f64);
    format!(
        "## Is that why it is off by default?\n\n\
         The article ends with a guess: with very many connections, keeping track of when the last packet came in, and \
         setting timers, might put some overhead on the kernel. The parts of it:\n\n\
         - *Keeping track of the last packet* costs nothing extra: Linux notes for every connection when data \
         (`lrcvtime`) and acknowledgments (`rcv_tstamp`) last came, whether keep-alive is on or not.\n\
         - *The timer* is a part of every socket (`sk_timer` in `struct sock`), used or not: hence the memory above. \
         A packet that comes in does not set it anew. It fires when it was set to, and looks then how long the peer \
         has been silent: at most once in an idle time, however busy the connection is.\n\
         - *The probes* do cost something: for {} connections, {} of one core at both ends together with an idle time \
         of 60 s, and {} with the default one.\n\n\
         So the overhead is real and {}, and it is not the reason. The reason is older than Linux. RFC 1122 \
         (1989, section 4.2.3.6) made keep-alive optional and off unless a program asks, and gave three fears: that \
         it breaks good connections while the network is down for a moment, that it spends bandwidth on connections \
         that nobody uses, and that it costs money where packets are paid for. RFC 9293 (2022, section 3.8.4: \
         MUST-25, MUST-28) keeps the rule, with no less than two hours as the default. Of the three, the second and \
         the third come to {} bytes a second here at the default. The first one still holds: keep-alive ends \
         connections that would have survived an outage longer than interval × count. See also the next section.\n",
        thousands(cost.connections),
        percent(all.both_cpu),
        percent(default.both_cpu),
        if all.both_cpu < 0.25 {
            "small"
        } else {
            "not small with so short an idle time"
        },
        number(default.bytes_per_s),
    )
}

fn bursts(cost: &Cost) -> String {
    let mut text = format!(
        "## What does hurt: bursts\n\n\
         Linux's timers fire in buckets whose width grows with the delay (`kernel/time/timer.c`; {} ticks a second \
         here), so probes of many connections go out together even if the connections came one by one. Until the \
         timers of a bucket are done, the processor does nothing else. With {} connections:\n\n",
        cost.hz.get(),
        thousands(cost.connections)
    );
    let sending = cost.sending_ns(cost.reference()).median;
    let mut rows = vec![row([
        "Idle time",
        "Bucket",
        "Probes at a time",
        "Timers, if one core has them all",
        "Measured: most probes within 20 ms",
        "Measured: longest run of timers",
    ])];
    for idle_s in IDLE_TIMES {
        let burst = cost.load(idle_s, cost.connections as f64).burst;
        let rate = cost.rates.iter().find(|rate| rate.idle_s == idle_s);
        let worst = |value: &dyn Fn(&Window) -> f64| {
            rate.map_or("–".to_owned(), |rate| {
                number(rate.windows.iter().map(value).fold(0.0, f64::max))
            })
        };
        let longest = worst(&|window| window.timer.longest.as_secs_f64() * 1e3);
        rows.push(vec![
            format!("{} s", thousands(idle_s as usize)),
            format!("{} s", number(cost.bucket_s(idle_s))),
            number(burst),
            format!("{} ms", number(burst * sending / 1e6)),
            worst(&|window| window.largest_burst() as f64),
            if rate.is_some() {
                format!("{longest} ms")
            } else {
                longest
            },
        ]);
    }
    text += &table(&rows);
    let quiet = longest_timer(&cost.off);
    text += &format!(
        "\nThe third and fourth columns are computed, for connections that came evenly. A timer fires on the core that \
         set it, or on one that was awake, so one core can get a whole bucket. Without keep-alive the longest run of timers was {} ms. Receiving is no part of such a run: it is done in small portions. What a \
         program feels, as threads of ordinary priority that sleep 1 ms at a time are woken late:\n\n",
        number(quiet * 1e3)
    );
    text += &naps(cost);
    let losing = &cost.losing;
    let backlog = thousands(usize::try_from(cost.backlog).unwrap_or(usize::MAX));
    text += &format!(
        "\n### Bursts that do not fit\n\n\
         Over loopback a packet waits in a queue of its processor, `net.core.netdev_max_backlog`, {backlog} long on \
         this machine, which is not emptied while timers run. (A veth pair between containers hands packets over by \
         the same function, `netif_rx`.) What does not fit is lost, and TCP takes it for sent. All other figures here \
         were taken with a queue of {}, so that nothing was lost. With {backlog}, idle time and interval {LOSING} s, \
         {LOSING_COUNT} probes and nothing else on the wire, {} of all packets were lost within {} s, and **{} of {} \
         good connections were reset as dead**.\n\n",
        thousands(usize::try_from(ROOMY).unwrap_or(usize::MAX)),
        percent(cost.lost_share()),
        number(losing.seconds),
        thousands(usize::try_from(losing.counted.aborts).unwrap_or(usize::MAX)),
        thousands(cost.connections),
    );
    text += &format!(
        "With an idle time of 60 s a queue of {backlog} is too short from {} connections on if one core has all of a \
         bucket's timers (computed). Real devices are another matter: a probe that their queueing discipline drops is \
         sent again after 0.5 s and not counted (`TCP_RESOURCE_PROBE_INTERVAL` in `tcp_keepalive_timer`), and what \
         they receive does not pass that queue unless packets are steered to other cores.\n",
        number(cost.backlog as f64 * cost.buckets(60)),
    );
    text
}

fn longest_timer(windows: &[Window]) -> f64 {
    let longest = windows
        .iter()
        .map(|window| window.timer.longest.as_secs_f64());
    longest.fold(0.0, f64::max)
}

fn naps(cost: &Cost) -> String {
    let mut rows = vec![row([
        "Keep-alive",
        "Half of the naps, at most",
        "999 of 1,000, at most",
        "Latest of all",
    ])];
    for (name, windows) in states(cost) {
        let median = |value: &dyn Fn(&Window) -> f64| {
            Spread::of(windows.iter().map(value).collect()).median * 1e3
        };
        let latest = windows.iter().map(|window| window.lateness.worst());
        rows.push(vec![
            name,
            format!(
                "{} ms",
                number(median(&|window| window
                    .lateness
                    .permille(500)
                    .as_secs_f64()))
            ),
            format!(
                "{} ms",
                number(median(&|window| window
                    .lateness
                    .permille(999)
                    .as_secs_f64()))
            ),
            format!(
                "{} ms",
                number(latest.max().unwrap_or_default().as_secs_f64() * 1e3)
            ),
        ]);
    }
    table(&rows)
}

fn states(cost: &Cost) -> Vec<(String, &[Window])> {
    let mut states = vec![
        ("off".to_owned(), &cost.off[..]),
        (
            format!("on, {} s", thousands(FAR_AWAY as usize)),
            &cost.armed[..],
        ),
    ];
    for rate in &cost.rates {
        states.push((format!("on, {} s", rate.idle_s), &rate.windows[..]));
    }
    states
}

fn ghosts(cost: &Cost) -> String {
    const IDLE_S: u32 = 60;
    const INTERVAL_S: u32 = 60;
    const COUNT: u32 = 9;
    let bytes = cost.socket_bytes();
    let ghosts = article::DEAD_CONNECTIONS;
    let load = cost.load(IDLE_S, ghosts as f64);
    format!(
        "## What it costs to have it off\n\n\
         A connection whose peer is gone without a word stays for ever: {} bytes of kernel memory, a descriptor, and \
         what the program holds for it. The article's {} ghosts hold {} MB in the kernel. With keep-alive on at \
         {IDLE_S} s, {INTERVAL_S} s and {COUNT} probes each is gone {} s after it was last heard. Asking as many good \
         connections takes {} of one core.\n",
        number(bytes),
        thousands(ghosts),
        number(ghosts as f64 * bytes / 1e6),
        IDLE_S + INTERVAL_S * COUNT,
        percent(load.own_cpu),
    )
}

fn how(machine: &Machine, bench: &Bench, cost: &Cost) -> String {
    let mut text = format!(
        "## How it was measured\n\n\
         `make bench-cost`: {} connections over loopback in a network namespace of their own, {} sockets, idle. \
         Keep-alive is switched on and off at the end of each that connected; the other end only answers. Timers are \
         started evenly over one idle time. Off and on with {} s take turns; then windows of each idle time, {} of \
         each. Figures are medians, with the least and the most behind them.\n\n\
         - *Processor*: the time in soft interrupts (TIMER: `tcp_keepalive_timer` sends; NET_RX: receives and \
         answers), between the tracepoints `softirq_entry` and `softirq_exit`, less what they take when nobody \
         probes, divided by the probes (`TCPKeepAlive`). What other programs did meanwhile is not in it, except that \
         they push things out of the caches. Ticks (`/proc/stat`) would not do: timers run just after a tick.\n\
         - *Which end*: in a window of its own, the time from one received packet to the next \
         (`netif_receive_skb`), by who receives it: {} of receiving is the answer at the end that probed.\n\
         - *Memory*: slab objects of sockets (`/proc/slabinfo`), and all slabs (`/proc/meminfo`), on less off.\n\
         - *`setsockopt`*: processor time of the calling thread, over thousands of sockets one after another, so each \
         comes from far down in the caches or from memory. The other options are set before, unmeasured.\n\
         - *Computed* rows: figures for one probe at {} s, times connections, divided by the period, which is the idle \
         time rounded up to whole buckets.\n\n",
        thousands(cost.connections),
        thousands(2 * cost.connections),
        thousands(FAR_AWAY as usize),
        bench.runs,
        percent(cost.own_share_of_receiving()),
        cost.reference().idle_s,
    );
    let facts = machine
        .iter()
        .filter(|(what, _)| *what != "Peer")
        .map(|(what, fact)| vec![(*what).to_owned(), fact.clone()]);
    let rows: Vec<Vec<String>> = std::iter::once(row(["", ""])).chain(facts).collect();
    text += &table(&rows);
    text
}

fn details(cost: &Cost) -> String {
    let mut rows = vec![row([
        "Keep-alive",
        "Windows",
        "Probes/s",
        "Packets/s",
        "TIMER, of one core",
        "NET_RX, of one core",
        "TIMER ns/probe",
        "NET_RX ns/probe",
        "20 ms slices with probes",
        "Machine busy",
    ])];
    for (index, (name, windows)) in states(cost).into_iter().enumerate() {
        let of = |value: &dyn Fn(&Window) -> f64| Spread::of(windows.iter().map(value).collect());
        // Off and far away come first.
        let rate = index.checked_sub(2).map(|index| &cost.rates[index]);
        let dash = || "–".to_owned();
        rows.push(vec![
            name,
            format!("{} of {} s", windows.len(), number(windows[0].seconds)),
            spread(of(&Window::probes_per_s)),
            number(of(&|window| window.counted.packets as f64 / window.seconds).median),
            percent(of(&Window::timer_share).median),
            percent(of(&Window::net_rx_share).median),
            rate.map_or_else(dash, |rate| spread(cost.sending_ns(rate))),
            rate.map_or_else(dash, |rate| spread(cost.receiving_ns(rate))),
            percent(of(&Window::slices_with_probes).median),
            percent(of(&|window| window.counted.busy_share()).median),
        ]);
    }
    let kinds: Vec<String> = cost
        .kinds
        .iter()
        .map(|kind| format!("{} {}", kind.name, kind.bytes))
        .collect();
    format!(
        "## What was measured\n\n{}\n\
         *Machine busy* is the share of all processors' time that was not idle, whoever used it. One socket consists \
         of these objects, in bytes: {}; {} in all, {} with what full slabs leave unused.\n",
        table(&rows),
        kinds.join(", "),
        number(cost.socket_bytes()),
        number(cost.kinds.iter().map(|kind| kind.bytes_in_slab).sum()),
    )
}

fn caveats(cost: &Cost) -> String {
    format!(
        "## What these figures are not\n\n\
         - Loopback has no driver, no interrupt and no queueing discipline. A real device adds its own work for each \
         packet; firewall rules and connection tracking add theirs.\n\
         - Both ends are here, and share the caches. The division between them is that of receiving alone; the timer's \
         part is the probing end's.\n\
         - All {} connections are idle. A connection that is used is not probed, and costs less than this.\n\
         - Wake-ups of processors that would sleep, and the power they take, are not measured.\n\
         - Soft interrupts that a virtual machine's host interrupts count in full.\n\
         - Bytes are those of IP packets, both ways: on Ethernet add 18 for each frame.\n",
        thousands(cost.connections)
    )
}

fn json(cost: &Cost) -> String {
    let reference = cost.reference();
    serde_json::json!({
        "probe_cpu_ns": cost.own_ns(reference).round() as u64,
        "probe_cpu_both_ends_ns": cost.both_ns(reference).round() as u64,
        "probe_sending_ns": cost.sending_ns(reference).median.round() as u64,
        "packets_per_probe": cost.packets_per_probe().round() as u64,
        "packet_bytes": cost.packet_bytes().round() as u64,
        "socket_bytes": cost.socket_bytes().round() as u64,
        "keep_alive_bytes": cost.memory_of_keep_alive()[0].median.round().max(0.0) as u64,
    })
    .to_string()
}

/// `crates/keepalive/src/measured.rs`.
pub(crate) fn constants(machine: &Machine, cost: &Cost) -> String {
    let reference = cost.reference();
    let fact = |wanted: &str| {
        let found = machine.iter().find(|(what, _)| *what == wanted);
        found.map_or("unknown", |(_, fact)| fact)
    };
    let grouped = |value: f64| {
        let digits = thousands(value.round().max(0.0) as usize);
        // As clippy wants them: in groups from five digits on.
        if digits.len() > 5 {
            digits.replace(',', "_")
        } else {
            digits.replace(',', "")
        }
    };
    format!(
        "//! What keep-alive costs a kernel, as measured.\n\
         //!\n\
         //! Written by `make bench-cost`; do not edit. `docs/cost.md` says how it was\n\
         //! measured, and what these figures are not.\n\
         //!\n\
         //! * {}\n\
         //! * {}\n\
         //! * {}\n\
         \n\
         /// Nanoseconds of processor time for a probe that is answered, at the end that\n\
         /// probes, without the work of a network device.\n\
         pub const PROBE_CPU_NS: u64 = {};\n\
         \n\
         /// The same with the peer's work.\n\
         pub const PROBE_CPU_BOTH_ENDS_NS: u64 = {};\n\
         \n\
         /// Packets for a probe that is answered: itself and the answer.\n\
         pub const PACKETS_PER_PROBE: u64 = {};\n\
         \n\
         /// Bytes of such a packet over IPv4: IP, TCP and timestamps.\n\
         pub const PACKET_BYTES: u64 = {};\n\
         \n\
         /// Bytes of kernel memory of an idle socket that a program holds: what a\n\
         /// connection to a dead peer holds for as long as nobody notices.\n\
         pub const SOCKET_BYTES: u64 = {};\n\
         \n\
         /// Bytes of kernel memory that keep-alive adds to a socket.\n\
         pub const KEEP_ALIVE_BYTES: u64 = {};\n",
        fact("Date"),
        fact("Kernel"),
        fact("Processor"),
        grouped(cost.own_ns(reference)),
        grouped(cost.both_ns(reference)),
        grouped(cost.packets_per_probe()),
        grouped(cost.packet_bytes()),
        grouped(cost.socket_bytes()),
        grouped(cost.memory_of_keep_alive()[0].median),
    )
}
