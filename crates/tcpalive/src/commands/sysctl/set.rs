//! `tcpalive sysctl set`: all that was asked for, or nothing.

use super::overrides::{Folders, overrides};
use super::persist::{PersistError, Prepared};
use super::{dangers, reach, warn};
use crate::cli::{Failure, Found, Presentation, say};
use crate::render::sysctl::{Changed, Override, Persisted, Reach, Report};
use crate::render::units::parse_duration;
use crate::survey::{find_namespaces, open_sweeper};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;
use tcpalive_keepalive::Hz;
use tcpalive_kernel::Error;
use tcpalive_kernel::netns::{Namespace, Scope};
use tcpalive_kernel::sweep::{BackendChoice, Sweeper};
use tcpalive_kernel::sysctl::{KeepaliveSysctls, OpenKeepaliveSysctls};

/// Arguments of `sysctl set`.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(after_help = "\
Examples:
  tcpalive sysctl set --time 10m --interval 15 --probes 4
  tcpalive sysctl set --time 2h --netns pid:4711
  tcpalive sysctl set --time 600 --interval 15s --probes 4 --persist

Only the current network namespace is changed unless --netns says otherwise. All is changed
or nothing. What a change does not reach is told: connections with values of their own or
without keep-alive, and timers that are armed already, which fire when they were set to and
read the new values then.

The times are whole seconds, up to 2147483647 / HZ (8589934 at 250 ticks per second), which
is more than programs can set for a socket (32767). 0 is taken with a warning: it ends
connections whose peers live. Negative values are refused: the kernel takes them, and never
probes again.

Exit codes: 0 done; 2 wrong usage or bad input; 3 this host or user does not allow it;
4 failed midway: what was changed is as before, unless it says otherwise.")]
pub(super) struct Args {
    /// Silence before the first probe, in seconds or as 90s, 10m, 2h
    /// (net.ipv4.tcp_keepalive_time)
    #[arg(long, value_name = "TIME", value_parser = seconds, allow_negative_numbers = true)]
    time: Option<i64>,
    /// From one probe to the next, in seconds or as 15s, 1m
    /// (net.ipv4.tcp_keepalive_intvl)
    #[arg(long, value_name = "TIME", value_parser = seconds, allow_negative_numbers = true)]
    interval: Option<i64>,
    /// Unanswered probes that end a connection, 0 to 255
    /// (net.ipv4.tcp_keepalive_probes)
    #[arg(long, value_name = "N", value_parser = probes, allow_negative_numbers = true)]
    probes: Option<i64>,
    /// Also write /etc/sysctl.d/60-tcpalive-keepalive.conf, so that it holds
    /// after the next boot; for the initial network namespace alone
    #[arg(long)]
    persist: bool,
}

/// Sets the sysctls and tells what that does not reach.
///
/// # Errors
/// See [`Failure`]. Nothing is changed then, save when all that failed is the
/// output, which is said.
pub(super) fn run(
    args: &Args,
    scope: &Scope,
    presentation: Presentation,
) -> Result<Found, Failure> {
    let wanted = [args.time, args.interval, args.probes];
    if wanted == [None; 3] {
        return Err(Failure::Usage(
            "nothing to set: give --time, --interval or --probes, such as --time 10m".into(),
        ));
    }
    let namespaces = find_namespaces(scope, true)?;
    let prepared = args.prepare(scope, &namespaces)?;
    let opened = namespaces
        .iter()
        .map(OpenKeepaliveSysctls::for_writing)
        .collect::<Result<Vec<_>, _>>()?;
    let mut sweeper = open_sweeper(BackendChoice::Auto)?;
    let hz = reach::tick_rate(&sweeper);
    check_limit(wanted, hz)?;

    let applied = Applied::apply(&opened, wanted)?;
    let persisted = match prepared {
        Some(prepared) => match commit(prepared) {
            Ok(persisted) => Some(persisted),
            Err(failure) => return Err(applied.undo_after(failure)),
        },
        None => None,
    };

    let mut changes = Vec::with_capacity(namespaces.len());
    for (namespace, before) in namespaces.iter().zip(applied.before) {
        let after = merged(before, wanted);
        let warnings = dangers::dangers(&after, hz);
        warn(namespace.label(), &warnings);
        changes.push(Changed {
            netns: namespace.inode(),
            name: namespace.label().to_owned(),
            before,
            after,
            hz,
            reach: reach_of(&mut sweeper, namespace, &after),
            warnings,
        });
    }
    let report = Report { changes, persisted };
    print(&report, presentation).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
        _ => Failure::Midway(format!("writing the output: {error}; the sysctls are set")),
    })?;
    Ok(Found::Nothing)
}

/// The change is made, so not to know what it reaches is no failure.
fn reach_of(
    sweeper: &mut Sweeper,
    namespace: &Namespace,
    after: &KeepaliveSysctls,
) -> Option<Reach> {
    reach::reach(sweeper, namespace, after).unwrap_or_else(|failure| {
        let why = failure.text().unwrap_or_default();
        say(&format!("what the change reaches is not known: {why}"));
        None
    })
}

fn print(report: &Report, presentation: Presentation) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if presentation.json {
        out.write_all(&report.json())?;
    } else {
        out.write_all(report.text(presentation.style).as_bytes())?;
    }
    out.flush()
}

impl Args {
    /// Writes the file under another name, if one is wanted.
    fn prepare(
        &self,
        scope: &Scope,
        namespaces: &[Namespace],
    ) -> Result<Option<Prepared>, Failure> {
        if !self.persist {
            return Ok(None);
        }
        let why = "files in /etc/sysctl.d are read when the host boots, and reach its initial \
                   network namespace alone";
        let (Scope::Current, [current]) = (scope, namespaces) else {
            return Err(Failure::Usage(format!(
                "--persist goes with --netns current alone: {why}"
            )));
        };
        if !is_initial(current)? {
            return Err(Failure::Usage(format!(
                "--persist is of no use in this network namespace, which is not that of process 1: {why}; \
                 whoever makes this namespace has to set its sysctls"
            )));
        }
        let changes = [self.time, self.interval, self.probes];
        let folders = Folders::system();
        Ok(Some(Prepared::write(
            &folders.folders[0],
            changes,
            &self.command_line(),
            SystemTime::now(),
        )?))
    }

    /// What was asked for as one would type it: the words that were typed
    /// could hold anything.
    fn command_line(&self) -> String {
        let mut text = String::from("tcpalive sysctl set");
        for (flag, value) in [
            ("--time", self.time),
            ("--interval", self.interval),
            ("--probes", self.probes),
        ] {
            if let Some(value) = value {
                text.push_str(&format!(" {flag} {value}"));
            }
        }
        text.push_str(" --persist");
        text
    }
}

/// Whether the namespace is the one that the host's init sets sysctls in.
fn is_initial(namespace: &Namespace) -> Result<bool, Failure> {
    /// The initial network namespace where its number is fixed, as on Linux
    /// 6.18 (`NET_NS_INIT_INO`, include/uapi/linux/nsfs.h). Numbers that the
    /// kernel gives out as it goes begin at 0xf0000000 (`PROC_DYNAMIC_FIRST`).
    const INITIAL: u64 = 0xefff_fff9;
    if namespace.inode() == INITIAL {
        return Ok(true);
    }
    match std::fs::metadata("/proc/1/ns/net") {
        Ok(init) => Ok(init.ino() == namespace.inode()),
        Err(error) => Err(Failure::NotAllowed(format!(
            "looking at the network namespace of process 1, which --persist is for: {error}. \
             Run it as root with the capabilities that process 1 has"
        ))),
    }
}

impl From<PersistError> for Failure {
    fn from(error: PersistError) -> Self {
        match &error {
            PersistError::Foreign { .. } => Self::Usage(error.to_string()),
            PersistError::System { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    Self::NotAllowed(format!(
                        "{error}. Run it as root on a system whose /etc can be written"
                    ))
                }
                io::ErrorKind::NotFound => Self::NotAllowed(format!(
                    "{error}. This system has no /etc/sysctl.d: make it if something reads it at boot"
                )),
                _ => Self::Midway(error.to_string()),
            },
        }
    }
}

/// Puts the file in its place, and tells which files win over it.
fn commit(prepared: Prepared) -> Result<Persisted, Failure> {
    let path = prepared.path().to_owned();
    let settings = prepared.settings();
    prepared.commit()?;
    let overridden = overrides(&Folders::system(), super::persist::NAME, &settings);
    for Override { path, key, value } in &overridden {
        say(&format!(
            "warning: {} sets {key} to {value} and is read later, so that it wins at the next boot",
            path.display()
        ));
    }
    Ok(Persisted { path, overridden })
}

/// What the kernel's tick rate rules out.
fn check_limit(wanted: [Option<i64>; 3], hz: Option<Hz>) -> Result<(), Failure> {
    // Without BPF the rate is not known; the kernel refuses what is too long.
    let Some(hz) = hz else {
        return Ok(());
    };
    let longest = KeepaliveSysctls::longest_s(hz.get());
    for (flag, value) in [("--time", wanted[0]), ("--interval", wanted[1])] {
        if value.is_some_and(|value| value > longest) {
            return Err(Failure::Usage(format!(
                "{flag} is more than this kernel takes: at most {longest} s (2147483647 / HZ, which is {})",
                hz.get()
            )));
        }
    }
    Ok(())
}

fn merged(before: KeepaliveSysctls, wanted: [Option<i64>; 3]) -> KeepaliveSysctls {
    KeepaliveSysctls {
        time_s: wanted[0].unwrap_or(before.time_s),
        interval_s: wanted[1].unwrap_or(before.interval_s),
        probes: wanted[2].unwrap_or(before.probes),
    }
}

/// Sysctls that were set, with what they were before.
struct Applied<'a> {
    opened: &'a [OpenKeepaliveSysctls],
    /// One for each.
    before: Vec<KeepaliveSysctls>,
}

impl<'a> Applied<'a> {
    /// Sets all of them; when one cannot be set, all are as before.
    fn apply(
        opened: &'a [OpenKeepaliveSysctls],
        wanted: [Option<i64>; 3],
    ) -> Result<Self, Failure> {
        let before = opened
            .iter()
            .map(OpenKeepaliveSysctls::read)
            .collect::<Result<Vec<_>, _>>()?;
        let applied = Self { opened, before };
        for (files, before) in applied.opened.iter().zip(&applied.before) {
            if let Err(error) = files.write(&merged(*before, wanted)) {
                return Err(applied.undo_after(refused(error)));
            }
        }
        Ok(applied)
    }

    /// Sets everything to what it was, and says so.
    fn undo_after(&self, failure: Failure) -> Failure {
        let mut left = Vec::new();
        for (files, before) in self.opened.iter().zip(&self.before) {
            if let Err(error) = files.write(before) {
                left.push(format!("it was {:?} before ({error})", before.values()));
            }
        }
        let outcome = if left.is_empty() {
            "Nothing is changed: what was set is as before".to_owned()
        } else {
            format!("Restoring failed, too: {}", left.join("; "))
        };
        let add = |text: String| format!("{}. {outcome}", text.trim_end_matches('.'));
        match failure {
            _ if !left.is_empty() => Failure::Midway(add(failure.text().unwrap_or_default())),
            Failure::Usage(text) => Failure::Usage(add(text)),
            Failure::NotAllowed(text) => Failure::NotAllowed(add(text)),
            Failure::Midway(text) => Failure::Midway(add(text)),
            other => other,
        }
    }
}

/// A value that the kernel does not take is bad input.
fn refused(error: Error) -> Failure {
    match &error {
        Error::System { source, .. } if source.kind() == io::ErrorKind::InvalidInput => {
            Failure::Usage(format!("{error}: it takes at most 2147483647 / HZ seconds"))
        }
        _ => error.into(),
    }
}

/// Seconds, plain or as a duration. The kernel's own limit depends on its
/// tick rate and is looked at later.
fn seconds(text: &str) -> Result<i64, String> {
    refuse_negative(
        text,
        "would never be probed, or never again after the first probe",
    )?;
    let seconds = if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        text.parse().unwrap_or(u64::MAX)
    } else {
        let duration = parse_duration(text).map_err(|error| error.to_string())?;
        if duration.subsec_nanos() != 0 {
            return Err("the kernel takes whole seconds here".into());
        }
        duration.as_secs()
    };
    i32::try_from(seconds)
        .map(i64::from)
        .map_err(|_| "no kernel takes so many seconds: the most is 2147483647 / HZ".into())
}

fn probes(text: &str) -> Result<i64, String> {
    refuse_negative(text, "cannot have fewer than no probes")?;
    match text.parse::<u8>() {
        Ok(probes) => Ok(i64::from(probes)),
        Err(_) => Err("expected a number from 0 to 255".into()),
    }
}

fn refuse_negative(text: &str, why: &str) -> Result<(), String> {
    match text.trim_start().starts_with('-') {
        true => Err(format!("negative values are refused: connections {why}")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::fd::AsRawFd;
    use std::path::Path;

    #[test]
    fn times_are_seconds_or_durations() {
        for (text, expected) in [
            ("0", 0),
            ("600", 600),
            ("90s", 90),
            ("2h", 7200),
            ("1m30s", 90),
        ] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("", "missing"),
            ("-1", "negative values are refused"),
            ("-1h", "negative values are refused"),
            ("1.5s", "whole seconds"),
            ("250ms", "whole seconds"),
            ("soon", "begin with a number"),
            ("2147483648", "2147483647 / HZ"),
            ("99999999999999999999999", "2147483647 / HZ"),
        ] {
            let error = seconds(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn probes_fit_in_a_byte() {
        assert_eq!(probes("0"), Ok(0));
        assert_eq!(probes("255"), Ok(255));
        for text in ["", "256", "-1", "9.5", "nine"] {
            assert!(probes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_limit_is_that_of_the_tick_rate() {
        let hz = Some(Hz::DEBIAN);
        assert!(check_limit([Some(8_589_934), Some(8_589_934), None], hz).is_ok());
        let failure = check_limit([None, Some(8_589_935), None], hz).unwrap_err();
        let text = failure.text().unwrap();
        assert!(text.starts_with("--interval is more than"), "{text}");
        assert!(check_limit([Some(8_589_935), None, None], None).is_ok());
    }

    /// A folder that stands for a namespace's /proc/sys/net/ipv4.
    fn stand_in(folder: &Path, values: [i64; 3]) -> OpenKeepaliveSysctls {
        for (name, value) in KeepaliveSysctls::NAMES.into_iter().zip(values) {
            let path = folder.join(name);
            if !path.exists() {
                fs::write(path, format!("{value}\n")).unwrap();
            }
        }
        OpenKeepaliveSysctls::in_folder(folder, "stand-in").unwrap()
    }

    #[test]
    fn when_one_namespace_fails_midway_all_are_as_before() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // A file that can be opened for writing, and not written to.
        let sealed = rustix::fs::memfd_create("sealed", rustix::fs::MemfdFlags::ALLOW_SEALING);
        let sealed = fs::File::from(sealed.unwrap());
        (&sealed).write_all(b"75\n").unwrap();
        rustix::fs::fcntl_add_seals(&sealed, rustix::fs::SealFlags::WRITE).unwrap();
        let link = second.path().join(KeepaliveSysctls::NAMES[1]);
        std::os::unix::fs::symlink(format!("/proc/self/fd/{}", sealed.as_raw_fd()), link).unwrap();
        let opened = [
            stand_in(first.path(), [7200, 75, 9]),
            stand_in(second.path(), [3600, 75, 8]),
        ];
        let Err(failure) = Applied::apply(&opened, [Some(1000), Some(10), Some(3)]) else {
            panic!("a sealed file was written");
        };
        let text = failure.text().unwrap();
        assert!(
            text.ends_with("Nothing is changed: what was set is as before"),
            "{text}"
        );
        assert!(text.contains("setting tcp_keepalive_intvl"), "{text}");
        assert_eq!(opened[0].read().unwrap().values(), [7200, 75, 9]);
        assert_eq!(opened[1].read().unwrap().values(), [3600, 75, 8]);

        // It did come to the second namespace: without the interval it works.
        let applied = Applied::apply(&opened, [Some(1000), None, Some(3)]);
        assert!(applied.is_ok());
        assert_eq!(opened[0].read().unwrap().values(), [1000, 75, 3]);
        assert_eq!(opened[1].read().unwrap().values(), [1000, 75, 3]);
    }

    #[test]
    fn the_command_line_is_what_was_asked_for() {
        let args = Args {
            time: Some(600),
            interval: None,
            probes: Some(0),
            persist: true,
        };
        assert_eq!(
            args.command_line(),
            "tcpalive sysctl set --time 600 --probes 0 --persist"
        );
    }
}
