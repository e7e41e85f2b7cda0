"""Secrets as they stand in the wild, for tests that look whether one got out."""

from __future__ import annotations

import base64
import json


def jwt() -> str:
    parts = ({"alg": "HS256"}, {"sub": "1234567890"})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "dBjftJeZ4CVPmB92K27uhbUJU1p1r_wW1gFWFOEjXk"])


# What must not appear, and a text of the form in which it usually stands.
CREDENTIALS = {
    "hunter2hunter2xyz": "login failed: password=hunter2hunter2xyz for app",
    "tok-8f3a9c1be27d4455": '{"token": "tok-8f3a9c1be27d4455"}',
    "bm90LWEtcmVhbC1vbmU5OTk": "Authorization: Bearer bm90LWEtcmVhbC1vbmU5OTk",
    "S3cretPgPassw0rd": "dial postgres://linkflow:S3cretPgPassw0rd@db.internal:5432/linkflow: EOF",
    "AKIAIOSFODNN7EXAMPLE": "upload with AKIAIOSFODNN7EXAMPLE denied: 403",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a": "clone with ghp_16C7e42F292c6912E7710c838347Ae178B4a: EOF",
    jwt(): f"expired session {jwt()} unauthorized",
    "sess-7f1e2d3c4b5a": "Cookie: sid=sess-7f1e2d3c4b5a",
    "k3y-9d8e7f6a5b4c": "call with api_key=k3y-9d8e7f6a5b4c: 401",
}
# No secrets, but somebody's: a bundle leaves them out, a cassette keeps them, as facts are made of them.
PERSONAL = {
    "jane.doe.private": "mail to jane.doe.private@example.com bounced: EOF",
    "blue parrot of mine": "ERROR: select * from notes where body = 'blue parrot of mine' (SQLSTATE 42601)",
}
PLANTED = {**CREDENTIALS, **PERSONAL}
