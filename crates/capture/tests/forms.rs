//! The forms of capture files, byte by byte.

mod written;

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;
use tcpalive_capture::file::{MAX_CAPTURED, MAX_INTERFACES};
use tcpalive_capture::{FileError, Link, Packet, Reader};
use written::Order;

const BOTH: [Order; 2] = [Order::Little, Order::Big];

/// A packet that outlives the reader's buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    frame: u64,
    time: u64,
    interface: u32,
    link: Link,
    data: Vec<u8>,
    original_len: u32,
}

impl From<Packet<'_>> for Kept {
    fn from(packet: Packet<'_>) -> Self {
        let Packet {
            frame,
            time,
            interface,
            link,
            data,
            original_len,
        } = packet;
        Self {
            frame,
            time,
            interface,
            link,
            data: data.to_vec(),
            original_len,
        }
    }
}

/// All packets, and how it ended.
fn read(read: impl Read) -> (Vec<Kept>, Option<FileError>) {
    let mut packets = Vec::new();
    let mut reader = match Reader::new(read) {
        Ok(reader) => reader,
        Err(error) => return (packets, Some(error)),
    };
    loop {
        match reader.next() {
            Ok(Some(packet)) => packets.push(packet.into()),
            Ok(None) => return (packets, None),
            Err(error) => return (packets, Some(error)),
        }
    }
}

fn whole(file: &[u8]) -> Vec<Kept> {
    let (packets, error) = read(file);
    assert!(error.is_none(), "{error:?}");
    packets
}

fn failure(file: &[u8]) -> String {
    read(file).1.expect("the file is not whole").to_string()
}

/// A small file of each form, with where in it each packet is complete.
fn samples() -> Vec<(Vec<u8>, Vec<usize>)> {
    let mut samples = Vec::new();
    for order in BOTH {
        let mut file = order.pcap(0xa1b2_3c4d, 1);
        let mut complete = Vec::new();
        for data in [&b"one"[..], b"", b"three, and more"] {
            file.extend(order.record(1, 2, data, 99));
            complete.push(file.len());
        }
        samples.push((file, complete));

        let mut file = order.section(&order.option(4, b"a program"));
        let mut complete = Vec::new();
        file.extend(order.interface(1, 0, &order.option(9, &[9])));
        file.extend(order.enhanced(0, 7, b"one", 99));
        complete.push(file.len());
        file.extend(order.block(5, b"interface statistics, passed over"));
        file.extend(order.section(b""));
        file.extend(order.interface(101, 0, b""));
        for data in [&b""[..], b"three, and more"] {
            file.extend(order.enhanced(0, 8, data, 99));
            complete.push(file.len());
        }
        samples.push((file, complete));
    }
    samples
}

#[test]
fn pcap_is_read_in_either_order_and_resolution() {
    for order in BOTH {
        for (magic, nanoseconds) in [(0xa1b2_c3d4, 999_999_000), (0xa1b2_3c4d, 999_999)] {
            let mut file = order.pcap(magic, 113);
            file.extend(order.record(4_000_000_000, 999_999, b"data", 60));
            file.extend(order.record(0, 0, b"", 0));
            let packets = whole(&file);
            assert_eq!(packets.len(), 2);
            assert_eq!(
                packets[0],
                Kept {
                    frame: 1,
                    time: 4_000_000_000_000_000_000 + nanoseconds,
                    interface: 0,
                    link: Link::LINUX_SLL,
                    data: b"data".to_vec(),
                    original_len: 60,
                }
            );
            assert_eq!((packets[1].frame, packets[1].time), (2, 0));
        }
    }
}

#[test]
fn the_modified_form_has_longer_record_headers() {
    for order in BOTH {
        let mut file = order.pcap(0xa1b2_cd34, 1);
        for data in [b"abcd", b"efgh"] {
            let record = order.record(1, 2, data, 4);
            file.extend(&record[..16]);
            file.extend([0xaa; 8]);
            file.extend(&record[16..]);
        }
        let packets = whole(&file);
        assert_eq!(packets[0].data, b"abcd");
        assert_eq!(packets[1].data, b"efgh");
        assert_eq!(packets[1].time, 1_000_002_000);
    }
}

#[test]
fn the_upper_half_of_pcaps_link_type_is_not_the_link() {
    let mut file = Order::Little.pcap(0xa1b2_c3d4, 0x2400_0001);
    file.extend(Order::Little.record(1, 2, b"data", 4));
    assert_eq!(whole(&file)[0].link, Link::ETHERNET);
}

#[test]
fn sections_have_their_own_order_and_interfaces() {
    let (little, big) = (Order::Little, Order::Big);
    let mut file = little.section(b"");
    file.extend(little.interface(1, 0, b""));
    file.extend(little.interface(101, 0, &little.option(9, &[9])));
    file.extend(little.enhanced(1, 5_000_000_001, b"raw", 3));
    file.extend(little.enhanced(0, 5_000_001, b"ethernet", 8));
    file.extend(big.section(b""));
    let mut options = big.option(9, &[0x80 | 10]);
    options.extend(big.option(14, &100_i64.to_be_bytes()));
    file.extend(big.interface(276, 0, &options));
    file.extend(big.enhanced(0, 1536, b"cooked", 6));

    let seen: Vec<_> = whole(&file)
        .into_iter()
        .map(|packet| (packet.frame, packet.interface, packet.link, packet.time))
        .collect();
    assert_eq!(
        seen,
        [
            (1, 1, Link::RAW, 5_000_000_001),
            (2, 0, Link::ETHERNET, 5_000_001_000),
            (3, 2, Link::LINUX_SLL2, 101_500_000_000),
        ]
    );
}

#[test]
fn simple_and_obsolete_packet_blocks_are_read() {
    for order in BOTH {
        let mut file = order.section(b"");
        file.extend(order.interface(1, 5, b""));
        file.extend(order.interface(101, 0, b""));
        // Obsolete: interface and drops share a word.
        let mut body = order.u16(1).to_vec();
        body.extend(order.u16(0xffff));
        for word in [0, 77, 3, 9] {
            body.extend(order.u32(word));
        }
        body.extend(b"raw");
        file.extend(order.block(2, &body));
        // Simple: cut at the first interface's snap length, or at its own
        // length; the rest is padding.
        for (original_len, data) in [(9, b"abcdefgh"), (3, b"abc\0\0\0\0\0")] {
            let mut body = order.u32(original_len).to_vec();
            body.extend(data);
            file.extend(order.block(3, &body));
        }
        let packets = whole(&file);
        assert_eq!(packets[0].data, b"raw");
        assert_eq!((packets[0].link, packets[0].interface), (Link::RAW, 1));
        assert_eq!((packets[0].time, packets[0].original_len), (77_000, 9));
        assert_eq!(
            (&packets[1].data[..], packets[1].original_len),
            (&b"abcde"[..], 9)
        );
        assert_eq!((packets[1].link, packets[1].time), (Link::ETHERNET, 77_000));
        assert_eq!(
            (&packets[2].data[..], packets[2].original_len),
            (&b"abc"[..], 3)
        );
    }
}

#[test]
fn a_block_length_without_its_padding_is_understood() {
    let order = Order::Little;
    let mut file = order.section(b"");
    file.extend(order.interface(1, 0, b""));
    let mut block = Order::Little.block(3, &[5, 0, 0, 0, b'h', b'e', b'l', b'l', b'o']);
    assert_eq!(block.len(), 24);
    block[4] = 21;
    block[20] = 21;
    file.extend(&block);
    file.extend(&block);
    let packets = whole(&file);
    assert_eq!(packets.len(), 2);
    assert_eq!(packets[1].data, b"hello");
}

#[test]
fn long_blocks_of_other_kinds_are_passed_over() {
    let order = Order::Big;
    let mut file = order.section(&vec![0; 3_000_000]);
    file.extend(order.interface(1, 0, b""));
    file.extend(order.block(0x0bad, &vec![1; 5_000_001]));
    file.extend(order.enhanced(0, 0, b"data", 4));
    assert_eq!(whole(&file)[0].data, b"data");
    // Its length at the end must agree all the same.
    let at = file.len() - order.enhanced(0, 0, b"data", 4).len() - 4;
    file[at..at + 4].copy_from_slice(&order.u32(7));
    assert_eq!(
        failure(&file),
        format!(
            "the file is damaged at byte {at}, in frame 1: expected the block's length again at its end, found 7"
        )
    );
}

#[test]
fn a_journal_entry_counts_as_a_frame() {
    let order = Order::Little;
    let mut file = order.section(b"");
    file.extend(order.interface(1, 0, b""));
    file.extend(order.enhanced(0, 0, b"data", 4));
    file.extend(order.block(9, b"__REALTIME_TIMESTAMP=1\n"));
    file.extend(order.enhanced(0, 0, b"data", 4));
    let frames: Vec<_> = whole(&file).iter().map(|packet| packet.frame).collect();
    assert_eq!(frames, [1, 3]);
}

#[test]
fn cut_anywhere_a_file_gives_what_was_before() {
    for (file, complete) in samples() {
        let all = whole(&file);
        assert_eq!(all.len(), 3);
        for cut in 0..file.len() {
            let before = complete.iter().filter(|end| **end <= cut).count();
            let (packets, error) = read(&file[..cut]);
            assert_eq!(packets, all[..before], "cut at {cut}");
            match error {
                // Between two packets.
                None => assert!(cut > 0),
                Some(FileError::Truncated {
                    frame,
                    offset,
                    needed,
                    found,
                    ..
                }) => {
                    assert_eq!(frame, before as u64 + 1);
                    assert_eq!(offset + found, cut as u64);
                    assert!(needed > found);
                }
                Some(error) => panic!("cut at {cut}: {error}"),
            }
        }
    }
}

/// A file that grows.
struct Growing<'a> {
    file: &'a [u8],
    at: usize,
    length: Rc<Cell<usize>>,
}

impl Read for Growing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (&self.file[self.at..self.length.get()]).read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

#[test]
fn a_growing_file_is_followed_byte_by_byte() {
    for (file, complete) in samples() {
        let length = Rc::new(Cell::new(24));
        let mut reader = Reader::new(Growing {
            file: &file,
            at: 0,
            length: Rc::clone(&length),
        })
        .unwrap();
        let mut packets: Vec<Kept> = Vec::new();
        for grown in 24..=file.len() {
            length.set(grown);
            loop {
                match reader.next() {
                    Ok(Some(packet)) => packets.push(packet.into()),
                    Ok(None) | Err(FileError::Truncated { .. }) => break,
                    Err(error) => panic!("at {grown}: {error}"),
                }
            }
            let before = complete.iter().filter(|end| **end <= grown).count();
            assert_eq!(packets.len(), before, "grown to {grown}");
        }
        assert_eq!(packets, whole(&file));
        assert_eq!(reader.offset(), file.len() as u64);
        assert_eq!(reader.frames(), 3);
    }
}

/// Hands out one byte at a time, and is interrupted before each.
struct Pipe<'a> {
    bytes: &'a [u8],
    interrupted: bool,
}

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = buffer.len().min(1);
        self.bytes.read(&mut buffer[..count])
    }
}

#[test]
fn a_pipe_may_hand_out_what_it_likes() {
    for (file, _) in samples() {
        let pipe = Pipe {
            bytes: &file,
            interrupted: false,
        };
        let (packets, error) = read(pipe);
        assert!(error.is_none());
        assert_eq!(packets, whole(&file));
    }
}

#[test]
fn a_packet_is_handed_out_as_soon_as_it_is_there() {
    struct NoMore;
    impl Read for NoMore {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("asked for more than the packet");
        }
    }
    for (file, complete) in samples() {
        let mut reader = Reader::new((&file[..complete[0]]).chain(NoMore)).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().data, b"one");
    }
}

#[test]
fn a_reader_that_fails_can_be_asked_again() {
    struct Once<'a>(&'a [u8], bool);
    impl Read for Once<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() && !self.1 {
                self.1 = true;
                return Err(io::Error::other("the disk is tired"));
            }
            self.0.read(buffer)
        }
    }
    let (file, complete) = samples().swap_remove(0);
    let mut reader = Reader::new(Once(&file[..complete[0]], false)).unwrap();
    assert!(reader.next().unwrap().is_some());
    let error = reader.next().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("reading on at byte {}, in frame 2, failed", complete[0])
    );
    assert!(matches!(error, FileError::Io { source, .. } if source.to_string().contains("tired")));
    assert!(reader.next().unwrap().is_none());
}

#[test]
fn what_is_not_a_capture_is_named() {
    assert_eq!(
        failure(b"GET / HTTP/1.1"),
        "expected a pcap or pcapng file, found one that begins with 47 45 54 20"
    );
    assert_eq!(
        failure(&[0x1f, 0x8b, 8, 0, 0]),
        "expected a pcap or pcapng file, found one that begins with 1f 8b 08 00 (gzip: decompress it, `zcat FILE`, and read that)"
    );
    assert_eq!(
        failure(b""),
        "the file is cut short: the file header at byte 0, in frame 1, needs 24 bytes, found 0"
    );
}

#[test]
fn a_length_that_cannot_be_is_damage_and_stays_it() {
    for order in BOTH {
        let mut file = order.pcap(0xa1b2_c3d4, 1);
        file.extend(order.record(1, 2, b"data", 4));
        let mut record = order.record(1, 2, b"data", 4);
        record[8..12].copy_from_slice(&order.u32(MAX_CAPTURED + 1));
        file.extend(&record);
        let mut reader = Reader::new(&file[..]).unwrap();
        assert!(reader.next().unwrap().is_some());
        for _ in 0..2 {
            assert_eq!(
                reader.next().unwrap_err().to_string(),
                "the file is damaged at byte 44, in frame 2: expected a packet of at most 262144 captured bytes, found 262145"
            );
        }
        assert_eq!((reader.frames(), reader.offset()), (1, 44));
    }
}

#[test]
fn the_longest_packet_is_read() {
    let data = vec![7; MAX_CAPTURED as usize];
    let order = Order::Little;
    let mut pcap = order.pcap(0xa1b2_c3d4, 1);
    let mut pcapng = order.section(b"");
    pcapng.extend(order.interface(1, 0, b""));
    for _ in 0..5 {
        pcap.extend(order.record(1, 2, &data, MAX_CAPTURED));
        pcapng.extend(order.enhanced(0, 1, &data, MAX_CAPTURED));
    }
    for file in [pcap, pcapng] {
        let packets = whole(&file);
        assert_eq!(packets.len(), 5);
        assert!(packets.iter().all(|packet| packet.data == data));
    }
}

#[test]
fn blocks_that_contradict_themselves_are_damage() {
    let order = Order::Little;
    let mut start = order.section(b"");
    start.extend(order.interface(1, 0, b""));
    let at = start.len();
    let packet = order.enhanced(0, 0, b"data", 4);
    // Where in the packet block, what number, what is expected, what is found.
    let cases = [
        (
            4,
            11,
            "a block length that holds the block's own fields",
            11,
        ),
        (
            4,
            524_289,
            "a block of a packet or an interface of at most 524288 bytes",
            524_289,
        ),
        (8, 1, "an interface that was described", 1),
        (20, 25, "no more captured bytes than the block has", 25),
        (
            20,
            u32::MAX,
            "a packet of at most 262144 captured bytes",
            u32::MAX,
        ),
        (
            packet.len() - 4,
            7,
            "the block's length again at its end",
            7,
        ),
        (
            0,
            0x0a0d_0d0a,
            "a section header with the byte-order magic 439041101",
            0,
        ),
    ];
    for (place, number, expected, found) in cases {
        let mut file = start.clone();
        file.extend(&packet);
        file[at + place..at + place + 4].copy_from_slice(&order.u32(number));
        assert_eq!(
            failure(&file),
            format!(
                "the file is damaged at byte {at}, in frame 1: expected {expected}, found {found}"
            )
        );
    }
    let mut file = start.clone();
    file.extend(order.block(0x77, b""));
    file[at + 4..at + 8].copy_from_slice(&order.u32((128 << 20) + 1));
    assert!(failure(&file).contains("expected a block of at most 134217728 bytes"));
    let mut file = start.clone();
    file.extend(order.block(1, b"four"));
    assert!(failure(&file).contains("expected an interface description of at least 20 bytes"));
    let mut file = start.clone();
    file.extend(order.block(6, b"short"));
    assert!(failure(&file).contains("expected a packet block with all of its fields"));
}

#[test]
fn other_versions_are_refused() {
    let mut file = Order::Little.pcap(0xa1b2_c3d4, 1);
    file[4] = 3;
    assert!(failure(&file).ends_with("expected version 2 of the pcap form, found 3"));
    let mut file = Order::Big.section(b"");
    file[13] = 2;
    assert!(failure(&file).ends_with("expected version 1 of the pcapng form, found 2"));
}

#[test]
fn no_length_in_a_file_makes_the_reader_ask_for_more_than_its_buffer() {
    struct Watched<'a>(&'a [u8]);
    impl Read for Watched<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            assert!(buffer.len() <= 768 * 1024);
            self.0.read(buffer)
        }
    }
    let order = Order::Little;
    for length in [MAX_CAPTURED, MAX_CAPTURED + 1, 524_288, 128 << 20, u32::MAX] {
        let mut pcap = order.pcap(0xa1b2_c3d4, 1);
        let mut record = order.record(1, 2, &[0; 1000], length);
        record[8..12].copy_from_slice(&order.u32(length));
        pcap.extend(record);
        let mut pcapng = order.section(b"");
        pcapng.extend(order.interface(1, 0, b""));
        let mut block = order.enhanced(0, 0, &[0; 1000], length);
        block[4..8].copy_from_slice(&order.u32(length));
        block[20..24].copy_from_slice(&order.u32(length));
        for kind in [1, 2, 3, 6, 0x77] {
            block[..4].copy_from_slice(&order.u32(kind));
            let file = [&pcapng[..], &block].concat();
            let (packets, error) = read(Watched(&file));
            assert!(packets.is_empty() && error.is_some(), "{kind} of {length}");
        }
        let (packets, error) = read(Watched(&pcap));
        assert!(packets.is_empty() && error.is_some(), "{length}");
    }
}

#[test]
fn interfaces_are_bounded() {
    let order = Order::Little;
    let mut file = order.section(b"");
    let interface = order.interface(1, 0, b"");
    for _ in 0..MAX_INTERFACES {
        file.extend(&interface);
    }
    file.extend(order.enhanced(MAX_INTERFACES as u32 - 1, 0, b"data", 4));
    assert_eq!(whole(&file)[0].interface, MAX_INTERFACES as u32 - 1);
    file.extend(&interface);
    assert!(
        failure(&file).ends_with("expected at most 65536 interfaces in a section, found 65537")
    );
}
