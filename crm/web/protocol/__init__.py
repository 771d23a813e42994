"""The server's HTTP and WebSockets: uvicorn's protocols, with limits on clients' data and connections."""

from crm.web.protocol.config import ClientLimits, Config
from crm.web.protocol.http import Http
from crm.web.protocol.processes import serve_with_processes
from crm.web.protocol.server import Server
from crm.web.protocol.websocket import WebSocket

__all__ = ["ClientLimits", "Config", "Http", "Server", "WebSocket", "serve_with_processes"]
