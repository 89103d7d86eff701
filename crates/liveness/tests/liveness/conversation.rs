//! Connections over which numbered messages go back and forth.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tcpalive_lab::connections::Pair;

/// Says `number` at one end, and hears exactly that at the other; then back.
pub(crate) fn exchange(pair: &Pair, number: u32) {
    let Pair { client, server } = pair;
    for (mut from, mut to) in [(client, server), (server, client)] {
        from.write_all(&number.to_be_bytes()).unwrap();
        to.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut heard = [0; 4];
        to.read_exact(&mut heard).unwrap();
        assert_eq!(u32::from_be_bytes(heard), number);
    }
}

/// Connections that are talking until they are told to stop.
pub(crate) struct Conversation {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(Vec<Pair>, u32)>,
}

impl Conversation {
    /// Exchanges a message on each of the connections, in turns, for ever.
    pub(crate) fn start(pairs: Vec<Pair>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                for pair in &pairs {
                    exchange(pair, number);
                }
                number += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            (pairs, number)
        });
        Self { stop, thread }
    }

    /// Ends it; nothing was lost or repeated on the way, and nothing is left
    /// to be read. Returns the connections and how often each one spoke.
    pub(crate) fn stop(self) -> (Vec<Pair>, u32) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut pairs, number) = self
            .thread
            .join()
            .expect("every message came as it was sent");
        for Pair { client, server } in &mut pairs {
            for end in [client, server] {
                end.set_nonblocking(true).unwrap();
                assert_eq!(
                    end.read(&mut [0; 8]).unwrap_err().kind(),
                    std::io::ErrorKind::WouldBlock
                );
                end.set_nonblocking(false).unwrap();
            }
        }
        (pairs, number)
    }
}
