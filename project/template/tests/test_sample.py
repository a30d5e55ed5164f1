from <% .Package %>.sample import make_customers


def test_same_rows_same_data():
    assert make_customers(50).equals(make_customers(50))


def test_some_leave_and_most_stay():
    customers = make_customers()
    assert customers["customer_id"].is_unique
    assert 0.1 < customers["churned"].mean() < 0.5
