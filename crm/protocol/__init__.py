"""How the server speaks HTTP and WebSockets: uvicorn's protocols, with bounds on what clients send and keep open."""

from crm.protocol.config import Config, Limits
from crm.protocol.http import Http
from crm.protocol.processes import serve_with_processes
from crm.protocol.server import Server
from crm.protocol.websocket import WebSocket

__all__ = ["Config", "Http", "Limits", "Server", "WebSocket", "serve_with_processes"]
