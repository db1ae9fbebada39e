"""What a gateway device of UPnP at 192.168.1.1 says, as it goes over the wire."""

from __future__ import annotations

FOUND = b"HTTP/1.1 200 OK\r\nST: x\r\nLOCATION: http://192.168.1.1:5000/root.xml\r\n\r\n"
SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:1"
DEVICE = """<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device><deviceList><device><serviceList>
<service><serviceType>urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1</serviceType><controlURL>/a</controlURL></service>
<service><serviceType>{service}</serviceType><controlURL> {control} </controlURL></service>
</serviceList></device></deviceList></device></root>"""


def response(body: str, status: int = 200) -> bytes:
    """What comes on a stream."""
    return f"HTTP/1.1 {status} x\r\nContent-Type: text/xml\r\n\r\n{body}".encode()


def described(control: str = "/ctl", service: str = SERVICE) -> bytes:
    """The description of a router."""
    return response(DEVICE.format(service=service, control=control))


def soap(body: str) -> bytes:
    """The result of an action."""
    return response(
        f'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{body}</s:Body></s:Envelope>'
    )


def error(code: object) -> bytes:
    """Or its failure."""
    fault = f'<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>{code}</errorCode></UPnPError>'
    return response(f"<Envelope><Body><Fault><detail>{fault}</detail></Fault></Body></Envelope>", 500)


ADDED = soap('<u:AddPortMappingResponse xmlns:u="x"/>')
ADDRESS = soap("<r><NewExternalIPAddress>203.0.113.7</NewExternalIPAddress></r>")
