"""Talks to the real yaml-language-server over its standard streams, as an editor does."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Json = Any
ROOT = Path(__file__).parent.parent
SERVER = ROOT / ".node" / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
PATIENCE = 60  # seconds until a silent server counts as hung
SETTINGS = {
    "validate": True,
    "hover": True,
    "completion": True,
    "schemaStore": {"enable": False},  # it would ask the network
    "format": {"enable": False},
}


class LanguageServer:
    """One server for one workspace; documents are opened with a text of their own and never saved."""

    def __init__(self, workspace: Path, settings: Mapping[str, Json] | None = None) -> None:
        self._settings = {**SETTINGS, **(settings or {})}
        self._process = subprocess.Popen(
            ["node", str(SERVER), "--stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=workspace,
            env={"PATH": os.environ["PATH"], "HOME": str(workspace)},
        )
        self._messages: queue.Queue[Json] = queue.Queue()
        self._told: dict[str, list[Json]] = {}
        self._number = 0
        threading.Thread(target=self._listen, daemon=True).start()
        capabilities = {
            "textDocument": {
                "completion": {"completionItem": {"snippetSupport": True, "documentationFormat": ["markdown"]}},
                "hover": {"contentFormat": ["markdown"]},
                "publishDiagnostics": {},
            },
            "workspace": {"configuration": True},
        }
        root = workspace.as_uri()
        self._ask("initialize", {"processId": None, "rootUri": root, "capabilities": capabilities})
        self._send("initialized", {})
        self._send("workspace/didChangeConfiguration", {"settings": {"yaml": self._settings}})

    def open(self, path: Path, text: str) -> str:
        """The address under which the document is asked about from now on."""
        uri = path.as_uri()
        item = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self._send("textDocument/didOpen", {"textDocument": item})
        return uri

    def close_document(self, uri: str) -> None:
        self._send("textDocument/didClose", {"textDocument": {"uri": uri}})
        self._told.pop(uri, None)

    def completion(self, uri: str, line: int, column: int) -> list[Json]:
        found = self._ask("textDocument/completion", _place(uri, line, column))
        return list(found["items"] if isinstance(found, dict) else found or [])

    def hover(self, uri: str, line: int, column: int) -> str:
        found = self._ask("textDocument/hover", _place(uri, line, column))
        contents = found["contents"] if found else ""
        return str(contents["value"] if isinstance(contents, dict) else contents)

    def diagnostics(self, uri: str) -> list[Json]:
        """What the server says of the document, once it has looked at all of it."""
        while uri not in self._told:
            self._take()
        return self._told[uri]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _ask(self, method: str, params: Json) -> Json:
        self._number += 1
        number = self._number
        self._write({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        while True:
            message = self._take()
            if message.get("id") == number and "method" not in message:
                assert "error" not in message, message["error"]
                return message["result"]

    def _send(self, method: str, params: Json) -> None:
        self._write({"jsonrpc": "2.0", "method": method, "params": params})

    def _write(self, message: Json) -> None:
        body = json.dumps(message).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._process.stdin.flush()

    def _take(self) -> Json:
        """The next message. What the server asks of an editor is answered on the way."""
        message = self._messages.get(timeout=PATIENCE)
        assert message is not None, "the language server ended"
        method = message.get("method")
        if method == "textDocument/publishDiagnostics":
            self._told[message["params"]["uri"]] = message["params"]["diagnostics"]
        elif method == "workspace/configuration":
            known = {"yaml": self._settings}
            answer = [known.get(item.get("section"), {}) for item in message["params"]["items"]]
            self._write({"jsonrpc": "2.0", "id": message["id"], "result": answer})
        elif method is not None and "id" in message:
            self._write({"jsonrpc": "2.0", "id": message["id"], "result": None})
        return message

    def _listen(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        try:
            while head := stream.readline():
                length = int(head.split(b":")[1])
                while stream.readline().strip():
                    pass
                self._messages.put(json.loads(stream.read(length)))
        except (OSError, ValueError):
            pass
        self._messages.put(None)


def _place(uri: str, line: int, column: int) -> Json:
    return {"textDocument": {"uri": uri}, "position": {"line": line, "character": column}}
