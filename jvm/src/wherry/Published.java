package wherry;

/** A catalog whose tables' columns are known outside of Spark too. */
public interface Published {
  /** Tells the columns that a table has now, if they are not those that are known. */
  void publish(String schema, String table);
}
