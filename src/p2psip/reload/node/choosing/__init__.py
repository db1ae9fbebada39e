"""Choosing among several peers that offer one service."""
