//! The header stands before the first byte, once, however the client writes.

use std::fs::File;
use std::io::{IoSlice, Write};
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, send};

use super::*;

/// More than any buffer on the way.
const LARGE_BYTES: usize = 1_000_000;

/// Bytes that are nowhere like those a little further on.
fn stream_of(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// What the waypoint has after `write` on one connection to each family.
#[track_caller]
fn check(name: &str, payload: &[u8], write: impl Fn(&mut TcpStream)) {
    let bench = bench(name);
    let recorder = recorder(&bench, Reply::Keep);
    let daemon = bench.start();
    let mut expected = Vec::new();
    for (address, header) in [(WEB, &HEADER[..]), (WEB6, &HEADER6)] {
        let mut stream = dial(&bench, address);
        write(&mut stream);
        stream.shutdown(Shutdown::Write).unwrap();
        expected.push(with(header, payload));
        wait_received(&recorder, &expected);
    }
    for reason in ["waypoint_header_failed", "waypoint_header_missed"] {
        assert_eq!(counter(&daemon, reason), 0, "{reason}");
    }
}

#[test]
fn one_write() {
    check("wp_one", b"GET / HTTP/1.1\r\n\r\n", |stream| {
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    });
}

#[test]
fn byte_by_byte() {
    check("wp_bytes", b"GET / HTTP/1.1\r\n\r\n", |stream| {
        stream.set_nodelay(true).unwrap();
        for byte in b"GET / HTTP/1.1\r\n\r\n" {
            stream.write_all(&[*byte]).unwrap();
        }
    });
}

#[test]
fn several_buffers_at_once() {
    let payload = stream_of(3_000);
    check("wp_writev", &payload, |stream| {
        let parts = [&payload[..1], &payload[1..1_000], &payload[1_000..]];
        let written = stream.write_vectored(&parts.map(IoSlice::new)).unwrap();
        assert_eq!(written, payload.len());
    });
}

#[test]
fn more_to_come() {
    check("wp_more", b"first second", |stream| {
        send(stream.as_raw_fd(), b"first ", MsgFlags::from_bits_retain(nix::libc::MSG_MORE))
            .unwrap();
        send(stream.as_raw_fd(), b"second", MsgFlags::empty()).unwrap();
    });
}

#[test]
fn from_a_file() {
    let payload = stream_of(200_000);
    let folder = std::env::temp_dir().join(format!("kmesh-wp-sendfile-{}", std::process::id()));
    std::fs::write(&folder, &payload).unwrap();
    let file = File::open(&folder).unwrap();
    std::fs::remove_file(&folder).unwrap();
    check("wp_sendfile", &payload, |stream| {
        let mut offset = 0;
        while (offset as usize) < payload.len() {
            let rest = payload.len() - offset as usize;
            rustix::fs::sendfile(&*stream, &file, Some(&mut offset), rest).unwrap();
        }
    });
}

#[test]
fn a_large_write() {
    let payload = stream_of(LARGE_BYTES);
    check("wp_large", &payload, |stream| stream.write_all(&payload).unwrap());
}

#[test]
fn without_waiting_for_room() {
    let payload = stream_of(LARGE_BYTES);
    check("wp_nonblocking", &payload, |stream| {
        stream.set_nonblocking(true).unwrap();
        let mut rest = &payload[..];
        while !rest.is_empty() {
            match stream.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    std::thread::yield_now();
                }
            }
        }
    });
}

#[test]
fn without_room_to_look_at_a_connection_its_bytes_come_bare_and_are_counted() {
    let bench = bench("wp_full");
    let recorder = recorder(&bench, Reply::Keep);
    let daemon = bench.scene.start_daemon_with(|options| {
        let silence = ["--waypoint-silence-ms", "60000"];
        let args = ["--waypoint-sockets-max", "1"].into_iter().chain(silence);
        options.args = args.map(Into::into).collect();
    });
    daemon.enrol(&bench.client, None);
    let silent = dial(&bench, WEB);
    let mut bare = dial(&bench, WEB);
    bare.write_all(b"hello").unwrap();
    // The waypoint sees that this is no header, and reads no further.
    wait_received(&recorder, &[Vec::new(), b"hello".to_vec()]);
    drop((silent, bare));
    wait_until("it to be counted", PATIENCE, || counter(&daemon, "waypoint_header_missed") == 1);
    // There is room again.
    dial(&bench, WEB).write_all(b"hello").unwrap();
    wait_received(&recorder, &[Vec::new(), b"hello".to_vec(), with(&HEADER, b"hello")]);
}

#[test]
fn connections_that_stay_carry_every_byte_of_both_ways() {
    let bench = bench("wp_keep_alive");
    let recorder = recorder(&bench, Reply::Echo);
    let _daemon = bench.start();
    let payload = stream_of(8 * LARGE_BYTES);
    let streams = [dial(&bench, WEB), dial(&bench, WEB6)];
    std::thread::scope(|scope| {
        for stream in &streams {
            let payload = &payload;
            scope.spawn(move || {
                let mut writer = stream;
                // Pauses between the parts: the first part is acknowledged before the others.
                let mut back = vec![0; 1_000];
                for part in payload[..10_000].chunks(1_000) {
                    writer.write_all(part).unwrap();
                    (&mut &*stream).read_exact(&mut back).unwrap();
                    assert_eq!(back, part);
                }
                scope.spawn(move || (&mut &*stream).write_all(&payload[10_000..]).unwrap());
                let mut rest = vec![0; payload.len() - 10_000];
                (&mut &*stream).read_exact(&mut rest).unwrap();
                assert!(rest == payload[10_000..], "what came back is not what was sent");
            });
        }
    });
    wait_received(&recorder, &[with(&HEADER, &payload), with(&HEADER6, &payload)]);
}
