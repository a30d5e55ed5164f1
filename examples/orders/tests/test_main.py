import pytest

pytest.importorskip("tabulate")

from orders.main import main


def test_writes_into_the_volume(tmp_path, capsys):
    main(["--batch=1", "--catalog=main", "--schema=orders", "--volume=landing"], volumes=tmp_path)
    folder = tmp_path / "main" / "orders" / "landing" / "batch=1"
    assert len(list(folder.iterdir())) == 2
    assert "placed" in capsys.readouterr().out


def test_batches_count_from_one(tmp_path):
    with pytest.raises(SystemExit):
        main(["--batch=0", "--catalog=main", "--schema=orders"], volumes=tmp_path)
