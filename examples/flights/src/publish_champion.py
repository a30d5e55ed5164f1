"""Gives a model version the alias "champion"."""

import argparse

from mlflow import MlflowClient

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--version", required=True)
args = parser.parse_args()

client = MlflowClient(registry_uri="databricks-uc")
client.set_registered_model_alias(args.model, "champion", args.version)
print(f"{args.model} version {args.version} is the champion")
