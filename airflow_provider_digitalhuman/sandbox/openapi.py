"""What FastAPI cannot see of the endpoints, which read their requests themselves to answer like the vendor."""

from typing import Any, Final

_URL: Final = {"type": "string", "format": "uri"}

CREATE_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["model", "audioUrl", "videoUrl"],
                    "properties": {
                        "model": {"type": "string"},
                        "audioUrl": _URL,
                        "videoUrl": _URL,
                        "modelVersion": {"type": "integer", "enum": [1, 2]},
                        "sideFace": {"type": "integer", "enum": [0, 1]},
                        "tiltedFace": {"type": "integer", "enum": [0, 1]},
                    },
                }
            }
        },
    }
}

FAULT_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["on", "fault"],
                    "properties": {
                        "on": {"type": "string", "enum": ["create", "query", "download", "task"]},
                        "fault": {"type": "string"},
                        "when": {"type": "string", "enum": ["before", "after"]},
                        "times": {"type": ["integer", "null"], "minimum": 1},
                        "skip": {"type": "integer", "minimum": 0},
                        "match": {"type": ["string", "null"]},
                        "probability": {"type": "number", "minimum": 0, "maximum": 1},
                        "seed": {"type": ["integer", "null"]},
                    },
                }
            }
        },
    }
}

TASK_ANSWER: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The task, or a refusal with code and msg",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string"},
                        "object": {"type": "string"},
                        "created": {"type": "integer", "description": "Unix seconds"},
                        "model": {"type": "string"},
                        "status": {"type": "string"},
                        "error": {"type": ["string", "null"]},
                        "video_url": {"type": "string"},
                        "md5": {"type": "string"},
                        "actualDuration": {"type": "number"},
                        "amount": {"type": "number"},
                    },
                }
            }
        },
    },
}
