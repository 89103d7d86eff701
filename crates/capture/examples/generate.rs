//! Writes a synthetic capture: `generate FILE FLOWS PACKETS_PER_FLOW [SEED] [open]`.
//!
//! With `open` no connection ends before the capture does.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a command, not a part of the crate"
)]

use std::fs::File;
use std::io::BufWriter;
use tcpalive_capture::synthetic::{Kind, Shape, write};
use tcpalive_capture::{Link, Resolution, Writer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<_> = std::env::args().skip(1).collect();
    let stay_open = arguments.pop_if(|last| last == "open").is_some();
    let [path, flows, packets, seed @ ..] = &arguments[..] else {
        return Err("usage: generate FILE FLOWS PACKETS_PER_FLOW [SEED] [open]".into());
    };
    let seed = seed.first().map_or(Ok(1), |seed| seed.parse())?;
    let shape = Shape {
        stay_open,
        ..Shape::new(flows.parse()?, packets.parse()?, seed)
    };
    let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut writer = Writer::new(file, Link::ETHERNET, Resolution::Nanoseconds)?;
    let truths = write(shape, &mut writer)?;
    let keep_alive = truths.iter().filter(|truth| truth.kind == Kind::KeepAlive);
    println!(
        "{} connections ({} keep themselves alive), {} packets, {} probes, {} answers",
        truths.len(),
        keep_alive.count(),
        truths
            .iter()
            .map(|truth| u64::from(truth.packets))
            .sum::<u64>(),
        truths
            .iter()
            .map(|truth| u64::from(truth.probes))
            .sum::<u64>(),
        truths
            .iter()
            .map(|truth| u64::from(truth.answers))
            .sum::<u64>(),
    );
    Ok(())
}
