package wherry;

import org.apache.spark.QueryContext;
import org.apache.spark.sql.AnalysisException;
import scala.Option;
import scala.collection.immutable.Map$;

/** Errors as PySpark shows them: an AnalysisException with our sentence. */
public final class Errors {
  private Errors() {}

  public static RuntimeException analysis(String message) {
    return sneak(exception(message, null));
  }

  public static RuntimeException analysis(String message, Throwable cause) {
    return sneak(exception(message, cause));
  }

  private static Exception exception(String message, Throwable cause) {
    return new AnalysisException(
        message,
        Option.empty(),
        Option.empty(),
        Option.apply(cause),
        Option.empty(),
        Map$.MODULE$.empty(),
        new QueryContext[0]);
  }

  /** Throws a checked exception where Spark's interfaces declare none. Never returns. */
  @SuppressWarnings("unchecked")
  public static <X extends Throwable> RuntimeException sneak(Throwable t) throws X {
    throw (X) t;
  }
}
