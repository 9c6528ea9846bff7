"""What a caller says of the way to a server: headers, proxies, TLS; by real ones on loopback."""

from __future__ import annotations

import asyncio
import base64
import datetime
import http.server
import ipaddress
import logging
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import httpx2
import openai
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typing_extensions import override

from tests.servers.chaos import Chaos
from typedllm import LLM, EngineError, UsageError
from typedllm.attempts import Policy
from typedllm.engines.connection import Connection

KEY = "sk-a-key-that-is-secret"
SECRET = "a-header-that-is-secret"


class Server(Chaos):
    """Keeps the headers; a message `repeat` is answered with an error that repeats them all."""

    seen: ClassVar[list[dict[str, str]]] = []
    streaming = False  # before anything is asked

    @override
    def do_POST(self) -> None:
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        if self.path == "/v1/completions":  # a vLLM server is asked whether it lands
            self.rfile.read(int(self.headers["Content-Length"]))
            return self.give({})
        return super().do_POST()

    def do_GET(self) -> None:  # noqa: N802, as a vLLM server is met
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        self.give({"version": "0.32.0"} if self.path == "/version" else {"data": [{"id": "m"}]})

    def repeat(self) -> None:
        told = f"{dict(self.headers)} at {self.path}"
        self.give({"error": {"message": f"I know you: {told}"}}, status=401)

    def moved(self) -> None:
        self.give({}, status=308, Location="http://other.example/v1")


class Proxy(http.server.BaseHTTPRequestHandler):
    """Passes on what has a whole URL, and tunnels; keeps what it was asked, and by whom."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[tuple[str, str, str | None]]] = []
    wants: ClassVar[str | None] = None

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.known():
            kept = {k: v for k, v in self.headers.items() if k.lower() != "proxy-authorization"}
            answer = httpx2.post(self.path, content=body, headers=kept, trust_env=False)
            self.send_response(answer.status_code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

    def do_CONNECT(self) -> None:
        if not self.known():
            return
        host, _, port = self.path.partition(":")
        with socket.create_connection((host, int(port))) as there:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=pump, args=(there, self.connection), daemon=True)
            back.start()
            pump(self.connection, there)
            back.join(5)
        self.close_connection = True

    def known(self) -> bool:
        """Whether the user is the one that is wanted; else the answer is 407."""
        given = self.headers.get("Proxy-Authorization")
        self.asked.append((self.command, self.path, given))
        if self.wants in (None, given):
            return True
        self.send_response(407)
        self.send_header("Proxy-Authenticate", "Basic")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass on bytes until there are no more."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@dataclass(frozen=True, kw_only=True)
class Running:
    plain: str
    tls: str
    authority: Path
    proxy: str


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("certificates")
    authority = certificates(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem")
    with ExitStack() as stack:
        ports: list[int] = []
        for handler in (Server, Server, Proxy):
            server = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
            server.daemon_threads = True
            if len(ports) == 1:  # the handshake in the thread of the connection
                server.socket = context.wrap_socket(
                    server.socket, server_side=True, do_handshake_on_connect=False
                )
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            ports.append(server.server_port)
        yield Running(
            plain=f"http://127.0.0.1:{ports[0]}/v1",
            tls=f"https://127.0.0.1:{ports[1]}/v1",
            authority=authority,
            proxy=f"http://127.0.0.1:{ports[2]}",
        )


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    Server.seen.clear()
    Server.asked.clear()
    Proxy.asked.clear()
    monkeypatch.setattr(Proxy, "wants", None)


def certificates(folder: Path) -> Path:
    """Make an authority, and in `server.pem` a certificate of 127.0.0.1 that it signed."""
    now = datetime.datetime.now(datetime.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"typedllm test {role}")])
        for role in ("authority", "server")
    ]
    written: list[bytes] = []
    for key, name in zip(keys, names, strict=True):
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(names[0])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=name == names[0], path_length=None), True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                False,
            )
            .sign(keys[0], hashes.SHA256())
        )
        written.append(made.public_bytes(serialization.Encoding.PEM))
    private = keys[1].private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "server.pem").write_bytes(private + written[1])
    (folder / "authority.pem").write_bytes(written[0])
    return folder / "authority.pem"


def llm_of(url: str, key: str | None = KEY, attempts: int = 1, **options: Any) -> LLM:
    policy = Policy(attempts=attempts, min_wait_s=0.0, max_wait_s=0.0)
    return LLM("openai:m", base_url=url, api_key=key, policy=policy, engine_args=options)


SHAPE = {"name": "str", "age": "int"}
VALUE = {"name": "Ada", "age": 36}


def test_headers_go_with_every_request(running: Running):
    with llm_of(running.plain, headers={"X-Team": "reds", "x-Trace": SECRET}) as llm:
        assert llm.call("fine", SHAPE) == VALUE
        llm.call("fine #2", SHAPE)
    assert [(each["x-team"], each["x-trace"]) for each in Server.seen] == [("reds", SECRET)] * 2
    assert Server.seen[0]["authorization"] == f"Bearer {KEY}"


def test_a_header_takes_the_place_of_the_key(running: Running):
    with llm_of(running.plain, key=None, headers={"AUTHORIZATION": "Basic dTpw"}) as llm:
        llm.call("fine", SHAPE)
    root = running.plain.removesuffix("/v1")
    options = {"azure_endpoint": root, "headers": {"Authorization": "Bearer from-entra"}}
    azure = LLM("azure:d", api_key=KEY, engine_args=options)
    with azure, pytest.raises(EngineError):
        azure.call("repeat")
    assert [each["authorization"] for each in Server.seen] == ["Basic dTpw", "Bearer from-entra"]
    assert Server.seen[1]["api-key"] == KEY


def test_secrets_are_in_no_message_log_or_traceback(
    running: Running, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    headers = {"X-Secret": SECRET, "Authorization": "Bearer another-secret"}
    proxy = running.proxy.replace("//", "//jane:her-password@")
    with llm_of(running.plain, headers=headers, proxy=proxy) as llm:
        error = llm.run("repeat", SHAPE).error
        shown = repr(vars(llm)) + repr(llm)
    assert isinstance(error, EngineError)
    assert error.status == 401
    assert "I know you" in str(error)
    told = "".join(traceback.format_exception(error)) + repr(error) + shown + caplog.text
    told += repr(Connection(base_url=running.plain, api_key=KEY, headers=headers, proxy=proxy))
    assert not [each for each in (KEY, SECRET, "another-secret", "her-password") if each in told]
    assert error.__cause__ is None
    assert error.__context__ is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"headers": [("X-Secret", SECRET)]}, "headers: expected a Mapping, got list"),
        ({"headers": {"X-Secret": 12345678}}, r"headers\['X-Secret'\]: expected a str, got int"),
        ({"headers": {"X-Secret": f"{SECRET}\r\nX-B: c"}}, "only printable ASCII"),
        ({"headers": {"X-Secret": "é-secret"}}, "only printable ASCII"),
        ({"headers": {"X Secret": SECRET}}, "'X Secret' is no name of a header"),
        ({"proxy": f"socks5://u:{SECRET}@h:1"}, "proxy: expected the URL of an HTTP proxy"),
        ({"proxy": f"u:{SECRET}@h:1"}, "proxy: expected the URL of an HTTP proxy"),
        ({"verify": "no/such/file.pem"}, "verify='no/such/file.pem': no certificates"),
        ({"verify": __file__}, "no certificates"),
        ({"verify": 3}, "verify: expected the path of a file of certificates"),
        ({"connect_timeout_s": 0}, "connect_timeout_s: expected a number above 0"),
        ({"client": 3}, "expected an openai.OpenAI or openai.AsyncOpenAI"),
        ({"client": openai.OpenAI(api_key=SECRET), "headers": {"a": SECRET}}, "headers= says it"),
        ({"sends": "jason_schema"}, "did you mean 'json_schema'"),
        ({"header": {}}, "did you mean 'headers'"),
    ],
)
def test_what_cannot_be_is_told_without_secrets(options: dict[str, Any], told: str):
    own: dict[str, Any] = (
        {} if "client" in options else {"base_url": "http://127.0.0.1:9/v1", "api_key": KEY}
    )
    with pytest.raises(UsageError, match=told) as found:
        LLM("openai:m", engine_args=options, **own)
    assert "secret" not in str(found.value).replace("X-Secret", "").replace("X Secret", "")


@pytest.mark.parametrize(
    "url",
    [
        *("localhost:8000", "file:///etc/passwd", "http://", "https://u:a-secret@h/v1"),
        *("https://h/v1?key=a-secret", "https://h/v1#a-secret", "u:a-secret@h", "http://h:x"),
    ],
)
def test_base_urls_are_of_http_and_hold_no_secret(url: str):
    for name in ("openai", "sglang", "vllm-server"):
        with pytest.raises(UsageError, match="base_url") as found:
            LLM(f"{name}:m", base_url=url)
        assert "secret" not in str(found.value)
    with pytest.raises(UsageError, match="azure_endpoint"):
        LLM("azure:m", api_key=KEY, engine_args={"azure_endpoint": url})


def test_a_redirect_is_not_followed(running: Running):
    with llm_of(running.plain) as llm:
        error = llm.run("moved", SHAPE).error
    assert isinstance(error, EngineError)
    assert (error.status, error.retryable) == (308, False)
    assert "is at http://other.example/v1; give that as base_url" in str(error)


def test_a_proxy_is_used_and_told_its_user(running: Running, monkeypatch: pytest.MonkeyPatch):
    user = "Basic " + base64.b64encode(b"jane:p@ss").decode()
    monkeypatch.setattr(Proxy, "wants", user)
    proxy = running.proxy.replace("//", "//jane:p%40ss@")
    with llm_of(running.plain, proxy=proxy) as llm:
        assert llm.call("fine", SHAPE) == VALUE
    with llm_of(running.tls, proxy=proxy, verify=running.authority) as llm:
        assert llm.call("fine", SHAPE) == VALUE
    assert [command for command, _, given in Proxy.asked if given == user] == ["POST", "CONNECT"]
    for url in (running.plain, running.tls):
        with llm_of(url, proxy=running.proxy, verify=False) as llm:
            error = llm.run("fine", SHAPE).error
        assert isinstance(error, EngineError)
        assert "407" in str(error)
    with llm_of(running.plain, proxy="http://127.0.0.1:9") as llm:
        error = llm.run("fine", SHAPE).error
    assert isinstance(error, EngineError)
    assert error.retryable
    assert "127.0.0.1:9" in str(error)


def test_the_environments_proxies_are_used(running: Running, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", running.proxy)
    with llm_of(running.plain) as llm:
        assert llm.call("fine", SHAPE) == VALUE
    assert [command for command, _, _ in Proxy.asked] == ["POST"]
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with llm_of(running.plain) as llm:
        assert llm.call("fine #2", SHAPE) == VALUE
    assert len(Proxy.asked) == 1


def test_an_unknown_authority_is_refused_and_told(running: Running):
    with llm_of(running.tls, attempts=3) as llm:
        result = llm.run("fine", SHAPE)
    error = result.error
    assert isinstance(error, EngineError)
    assert (error.retryable, result.attempts) == (False, 1)
    assert "is not trusted: unable to get local issuer certificate" in str(error)
    assert 'engine_args={"verify":' in str(error)


def test_an_authority_is_trusted_that_is_named(running: Running, monkeypatch: pytest.MonkeyPatch):
    context = ssl.create_default_context(cafile=running.authority)
    for verify in (running.authority, str(running.authority), context, False):
        with llm_of(running.tls, verify=verify) as llm:
            assert llm.call("fine", SHAPE) == VALUE
    monkeypatch.setenv("SSL_CERT_FILE", str(running.authority))
    with llm_of(running.tls) as llm:
        assert llm.call("fine", SHAPE) == VALUE


def test_a_certificate_of_another_host_is_refused(running: Running):
    url = running.tls.replace("127.0.0.1", "localhost")
    with llm_of(url, verify=running.authority) as llm:
        error = llm.run("fine", SHAPE).error
    assert isinstance(error, EngineError)
    assert "Hostname mismatch" in str(error)


@pytest.mark.slow
def test_who_does_not_take_the_connection_is_given_up_soon():
    """A full queue of connections leaves a new one without an answer, as a firewall does."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as stack:
        for _ in range(8):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        with llm_of(url, connect_timeout_s=0.5) as llm:
            began = time.monotonic()
            error = llm.run("fine", SHAPE, timeout_s=30).error
    assert isinstance(error, EngineError)
    assert error.retryable
    assert 0.4 < time.monotonic() - began < 10


def test_a_ready_made_client_keeps_its_settings_and_stays_open(running: Running):
    headers = {"X-Trace": SECRET}
    with openai.OpenAI(
        base_url=running.plain, api_key=KEY, default_headers=headers, max_retries=5
    ) as client:
        with LLM("openai:m", engine_args={"client": client}, policy=Policy(attempts=1)) as llm:
            assert llm.call("fine", SHAPE) == VALUE
            results = llm.batch([f"fine #{n}" for n in range(20)], SHAPE)
            assert all(result.ok for result in results)
            assert not llm.run("500", SHAPE).ok
            error = llm.run("repeat", SHAPE).error
        assert not client.is_closed()
    assert Server.asked["500"] == 1  # its five retries are off
    assert {each["x-trace"] for each in Server.seen} == {SECRET}
    told = "".join(traceback.format_exception(error))
    assert "I know you" in told
    assert not [each for each in (KEY, SECRET) if each in told]


def test_an_async_one_serves_the_sync_methods(running: Running):
    client = openai.AsyncOpenAI(base_url=running.plain, api_key=KEY)
    with LLM("sglang:m", engine_args={"client": client}) as llm:
        assert llm.call("fine", SHAPE) == VALUE
        assert llm.call("fine #2", SHAPE) == VALUE
    assert not client.is_closed()


@pytest.mark.parametrize("kind", [openai.OpenAI, openai.AsyncOpenAI])
def test_one_serves_a_vllm_server(running: Running, kind: Any):
    client = kind(base_url=running.plain, api_key=KEY, default_headers={"X-Trace": SECRET})
    with LLM("vllm-server:m", engine_args={"client": client}) as llm:
        assert llm.call("fine", SHAPE) == VALUE
    with LLM("vllm-server:m", base_url=running.plain, engine_args={"headers": {"X-Trace": SECRET}}):
        pass
    assert {each["x-trace"] for each in Server.seen} == {SECRET}
    assert not client.is_closed()


def test_an_async_one_serves_no_second_event_loop(running: Running):
    client = openai.AsyncOpenAI(base_url=running.plain, api_key=KEY)
    with LLM("openai:m", engine_args={"client": client}) as llm:
        assert llm.call("fine", SHAPE) == VALUE
        error = asyncio.run(llm.arun("fine #2", SHAPE)).error
        assert llm.call("fine #3", SHAPE) == VALUE
    assert isinstance(error, UsageError)
    assert "give an openai.OpenAI" in str(error)


async def test_an_async_one_serves_the_async_methods_of_its_own_loop(running: Running):
    async with openai.AsyncOpenAI(base_url=running.plain, api_key=KEY) as client:
        llm = LLM("groq:m", engine_args={"client": client})
        assert await llm.acall("fine", SHAPE) == VALUE
        await llm.aclose()
        assert not client.is_closed()


def test_what_a_clients_own_code_raises_is_an_engine_error(running: Running):
    def key() -> str:
        raise LookupError("nobody is signed in")

    client = openai.OpenAI(base_url=running.plain, api_key=key)
    with client, LLM("openai:m", engine_args={"client": client}) as llm:
        error = llm.run("fine", SHAPE).error
    assert isinstance(error, EngineError)
    assert "the client failed: LookupError: nobody is signed in" in str(error)
