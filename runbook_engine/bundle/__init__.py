"""The evidence of one moment in one file: collected, redacted, packed; read again and judged on another machine."""
