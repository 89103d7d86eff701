use super::Cost;
use crate::bench::Bench;
pub(crate) fn page(machine: &[(&str, String)], _bench: &Bench, cost: &Cost) -> String {
    let mut t = String::new();
    for (n, w) in [("off", &cost.off), ("armed", &cost.armed)].into_iter().chain(cost.rates.iter().map(|r| ("rate", &r.windows))) {
        for w in w.iter() { t += &format!("{n}: {:.1}s probes/s {:.0} timer {:.5} rx {:.5} longest {:?} {:?} burst {} slices {:.3} late {:?} {:?} busy {:.2} bytes/p {:.1} drop {}\n", w.seconds, w.probes_per_s(), w.timer_share(), w.net_rx_share(), w.timer.longest, w.net_rx.longest, w.largest_burst(), w.slices_with_probes(), w.lateness.worst(), w.lateness.permille(999), w.counted.busy_share(), w.counted.bytes as f64/w.counted.packets as f64, w.counted.dropped);
        }
    }
    t += &format!("{:?}\n{:?}\n{:?}\n{:?} {:?}\n", cost.objects, cost.slab_each, cost.on_less_off, cost.calls, machine.len());
    t += &format!("far {:?} near {:?}\n", cost.sides.far, cost.sides.near);
    t += &format!("usual {:?} late {:?}\n", cost.usual_backlog.counted, cost.usual_backlog.lateness.worst());
    t
}
