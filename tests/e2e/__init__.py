"""Tests of server, SDK and commands as processes, from outside."""
