//! A provider behind TLS, as most are: its certificate is checked by those of the system.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
};

use rcgen::generate_simple_self_signed;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};

use crate::support::{
    coterie::write_config,
    upstream::{Reply, Upstream},
};

/// TLS before a provider.
struct Terminator {
    port: u16,
    /// The certificate by which it can be trusted.
    certificate: PathBuf,
    _accepting: JoinSet<()>,
}

impl Terminator {
    async fn before(upstream: &Upstream, folder: &Path) -> Self {
        let pair = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = folder.join("certificate.pem");
        fs::write(&certificate, pair.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![pair.cert.der().clone()], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let behind = upstream.base_url();
        let behind = (
            behind.host_str().unwrap().to_owned(),
            behind.port().unwrap(),
        );
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // Who does not trust it breaks off.
                let Ok(mut clear) = acceptor.accept(stream).await else {
                    continue;
                };
                let mut provider = TcpStream::connect(&behind).await.unwrap();
                drop(copy_bidirectional(&mut clear, &mut provider).await);
            }
        });
        Self {
            port,
            certificate,
            _accepting: accepting,
        }
    }
}

/// Asks the provider once, in a process of its own, whose system trusts these certificates.
async fn ask(config: PathBuf, trusted: PathBuf) -> Output {
    let asking = tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_coterie"))
            .args(["ask", "Hi?", "--expert", "far", "--config"])
            .arg(config)
            .env("SSL_CERT_FILE", trusted)
            .stdin(Stdio::null())
            .output()
    });
    asking.await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_is_asked_over_tls_if_its_certificate_can_be_trusted() {
    let upstream = Upstream::always(Reply::answer(["over TLS"])).await;
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let known = Terminator::before(&upstream, folder.path()).await;
    let unknown = Terminator::before(&upstream, other.path()).await;
    let config = write_config(
        folder.path(),
        &format!(
            "experts: {{ far: {{ kind: remote, base_url: 'https://localhost:{}/v1', model: m, retries: {{ max: 0 }} }} }}\n\
             mapping: {{ default: far }}\n",
            known.port
        ),
    );
    let told = ask(config.clone(), known.certificate).await;
    assert_eq!(
        String::from_utf8_lossy(&told.stdout),
        "over TLS\n",
        "{told:?}"
    );
    let told = ask(config, unknown.certificate).await;
    let error = String::from_utf8_lossy(&told.stderr);
    assert!(
        !told.status.success() && error.contains("certificate"),
        "{error}"
    );
    assert_eq!(upstream.requests().len(), 1);
}
