"""Kinds for the overlays of these tests, declared in signed kind-blocks of their configuration (section 11.1)."""

from __future__ import annotations

from p2psip.reload.config.configuration import AccessControl, DataModel, Kind

SINGLE_KIND, ARRAY_KIND, DICTIONARY_KIND, NODE_KIND, MULTIPLE_KIND = range(0xF0000001, 0xF0000006)
COUNT_MAX, SIZE_MAX, NODE_MULTIPLE_MAX = 50, 1000, 3

DECLARED = (
    Kind(SINGLE_KIND, DataModel.SINGLE, AccessControl.USER_MATCH, 1, SIZE_MAX),
    Kind(ARRAY_KIND, DataModel.ARRAY, AccessControl.USER_MATCH, COUNT_MAX, SIZE_MAX),
    Kind(DICTIONARY_KIND, DataModel.DICTIONARY, AccessControl.USER_NODE_MATCH, COUNT_MAX, SIZE_MAX),
    Kind(NODE_KIND, DataModel.SINGLE, AccessControl.NODE_MATCH, 1, SIZE_MAX),
    Kind(
        MULTIPLE_KIND,
        DataModel.ARRAY,
        AccessControl.NODE_MULTIPLE,
        COUNT_MAX,
        SIZE_MAX,
        max_node_multiple=NODE_MULTIPLE_MAX,
    ),
)
