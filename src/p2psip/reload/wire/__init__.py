"""Every structure of RELOAD's wire, declared once (RFC 6940 section 6.3 to 6.6, 7, 9 and 10; RFC 7904 section 3.2).

The machinery is in `codec` and `primitives`; the other modules declare structures, one module a family.
"""
