//! Bodies stream: a body of any size costs no memory.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_lc_rs::digest;
use spapi_sidecar::sandbox::noise;

use super::hex;
use crate::support::peer::{Http1, tls, tunnel};
use crate::support::sidecar::{NA, Setup, Stage};

const SIZE: u64 = 200 << 20;
const PART: usize = 256 << 10;

/// Most memory that the process may ever have had resident.
const BOUND_KIB: u64 = 64 << 10;

/// The program itself, as a child.
struct Program {
    child: Child,
    proxy: SocketAddr,
}

impl Drop for Program {
    fn drop(&mut self) {
        // it may be gone already
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Program {
    /// Runs `spapi-sidecar run`, and reads from its log where it listens.
    fn start(config: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_spapi-sidecar"))
            .args(["run", "--config"])
            .arg(config)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let proxy = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let line: serde_json::Value = serde_json::from_str(&line).ok()?;
                let listening = line["listening"].as_str()?.to_owned();
                let first = listening.trim_matches(['[', ']']).split(',').next()?;
                first.parse().ok()
            })
            .expect("the log says where it listens");
        // a pipe that nobody reads would fill up and stop the program
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, proxy }
    }

    fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

fn config_of(folder: &Path) -> rustls::ClientConfig {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    for one in rustls::pki_types::CertificateDer::pem_file_iter(folder.join("ca.pem")).unwrap() {
        roots.add(one.unwrap()).unwrap();
    }
    rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_mebibytes_each_way_arrive_to_the_byte_and_fit_into_64() {
    let setup = Setup::default();
    let Stage {
        sandbox: _sandbox,
        folder,
        yaml: text,
    } = Stage::set(&setup).await;
    let path = folder.path().join("proxy.yaml");
    std::fs::write(&path, text).unwrap();
    let program = Program::start(&path);
    let mut client = connect(&program, folder.path()).await;
    let sent = upload(&mut client).await;
    let seen = client.answer().await.json();
    assert_eq!(
        (&seen["bytes"], &seen["sha256"]),
        (&SIZE.into(), &sent.into())
    );
    download(&mut client).await;
    let peak = program.peak_kib();
    assert!(peak < BOUND_KIB, "{peak} KiB");
}

async fn connect(program: &Program, folder: &Path) -> Http1 {
    for _ in 0..200 {
        if tokio::net::TcpStream::connect(program.proxy).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stream = tunnel(program.proxy, NA).await;
    Http1::over(tls(stream, config_of(folder), NA).await)
}

/// Sends noise; its hash.
async fn upload(client: &mut Http1) -> String {
    client
        .write(format!(
            "POST /_sandbox/sink HTTP/1.1\r\nhost: {NA}\r\ncontent-length: {SIZE}\r\n\r\n"
        ))
        .await;
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut part = vec![0; PART];
    for offset in (0..SIZE).step_by(PART) {
        noise(9, offset, &mut part);
        hash.update(&part);
        client.write(&part).await;
    }
    hex(hash.finish().as_ref())
}

/// Reads noise and checks every byte of it.
async fn download(client: &mut Http1) {
    client
        .write(format!(
            "GET /_sandbox/body/{SIZE}?seed=9 HTTP/1.1\r\nhost: {NA}\r\n\r\n"
        ))
        .await;
    let head = client.head().await;
    assert_eq!(head.field("content-length"), Some(&*SIZE.to_string()));
    let mut offset = 0;
    let mut held = Vec::with_capacity(2 * PART);
    let mut want = vec![0; PART];
    client
        .body(&head, false, |part| {
            held.extend_from_slice(part);
            while held.len() >= PART {
                noise(9, offset, &mut want);
                assert!(held[..PART] == want, "near byte {offset}");
                held.drain(..PART);
                offset += PART as u64;
            }
        })
        .await
        .unwrap();
    assert_eq!((offset, held.len()), (SIZE, 0));
}
