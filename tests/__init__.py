"""Tests mirror modules; what several of them share is in a module of its own."""
