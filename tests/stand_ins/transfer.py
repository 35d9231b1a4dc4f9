"""TransferQueue as dictionaries: rows by key, fields by name."""

import torch
from tensordict import TensorDict
from tensordict.tensorclass import NonTensorStack


class Store:
    """Takes the place of `tapo.transfer`'s functions."""

    def __init__(self):
        self.rows = {}
        self.deleted = []

    def install(self, monkeypatch, transfer):
        for name in ("read_fields", "write_fields", "put_rows", "delete_rows"):
            monkeypatch.setattr(transfer, name, getattr(self, name))

    def put(self, key, **fields):
        self.rows[key] = fields

    def read_fields(self, keys, partition_id, names):
        return TensorDict({name: self._column(keys, name) for name in names}, batch_size=[len(keys)])

    def _column(self, keys, name):
        values = [self.rows[key][name] for key in keys]
        if all(torch.is_tensor(value) for value in values):
            return torch.nested.as_nested_tensor(values, layout=torch.jagged)
        return NonTensorStack(*values)

    def write_fields(self, keys, partition_id, fields):
        for i, key in enumerate(keys):
            for name, values in fields.items():
                self.rows[key][name] = values[i]

    def put_rows(self, keys, partition_id, fields, tags):
        for key in keys:
            assert key not in self.rows
            self.rows[key] = {}
        self.write_fields(keys, partition_id, fields)

    def delete_rows(self, keys, partition_id):
        self.deleted += keys
        for key in keys:
            del self.rows[key]
