package wherry;

import org.apache.spark.sql.SparkSessionExtensions;
import org.apache.spark.sql.catalyst.FunctionIdentifier;
import org.apache.spark.sql.catalyst.TableIdentifier;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.parser.ParameterContext;
import org.apache.spark.sql.catalyst.parser.ParameterHandler;
import org.apache.spark.sql.catalyst.parser.ParseException;
import org.apache.spark.sql.catalyst.parser.ParserInterface;
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan;
import org.apache.spark.sql.classic.SparkSession;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.StructType;
import scala.Option;
import scala.collection.immutable.Seq;
import scala.runtime.AbstractFunction1;
import scala.runtime.BoxedUnit;

/** Puts our parser before Delta's and Spark's: spark.sql.extensions. */
public final class Extensions extends AbstractFunction1<SparkSessionExtensions, BoxedUnit> {
  @Override
  public BoxedUnit apply(SparkSessionExtensions e) {
    e.injectParser((session, next) -> new Parser((SparkSession) session, next));
    return BoxedUnit.UNIT;
  }

  private static final class Parser implements ParserInterface {
    private final SparkSession session;
    private final ParserInterface next;

    Parser(SparkSession session, ParserInterface next) {
      this.session = session;
      this.next = next;
    }

    /** Makes the catalogs known that the statement may mean, then rewrites it if it is ours. */
    private String prepare(String sql) {
      Tokens tokens = new Tokens(sql);
      if (tokens.computesNames()) {
        Sessions.refreshCatalogs(session);
      } else {
        Sessions.ensureCatalogs(session, tokens.firstParts());
      }
      String ours = Statement.rewrite(tokens);
      if (ours == null) {
        ours = Functions.rewrite(session, tokens);
      }
      return ours == null ? sql : ours;
    }

    @Override
    public LogicalPlan parsePlan(String sql) throws ParseException {
      return Functions.resolve(session, next.parsePlan(prepare(sql)));
    }

    @Override
    public LogicalPlan parsePlanWithParameters(String sql, ParameterContext c)
        throws ParseException {
      // Delta's parser, which comes next, would lose the parameters. They are found by Spark's
      // grammar, so after our statements have become Spark's.
      String bound = ParameterHandler.substituteParameters(prepare(sql), c)._1();
      return Functions.resolve(session, next.parsePlan(bound));
    }

    @Override
    public LogicalPlan parseQuery(String sql) throws ParseException {
      return Functions.resolve(session, next.parseQuery(prepare(sql)));
    }

    @Override
    public Expression parseExpression(String sql) throws ParseException {
      return next.parseExpression(sql);
    }

    @Override
    public TableIdentifier parseTableIdentifier(String sql) throws ParseException {
      // Delta and Spark's catalog functions give three-level names to this.
      Seq<String> parts = parseMultipartIdentifier(sql);
      if (parts.size() == 3) {
        return new TableIdentifier(
            parts.apply(2), Option.apply(parts.apply(1)), Option.apply(parts.apply(0)));
      }
      return next.parseTableIdentifier(sql);
    }

    @Override
    public Seq<String> parseMultipartIdentifier(String sql) throws ParseException {
      Sessions.ensureCatalogs(session, new Tokens(sql).firstParts());
      return next.parseMultipartIdentifier(sql);
    }

    @Override
    public FunctionIdentifier parseFunctionIdentifier(String sql) throws ParseException {
      return next.parseFunctionIdentifier(sql);
    }

    @Override
    public StructType parseRoutineParam(String sql) throws ParseException {
      return next.parseRoutineParam(sql);
    }

    @Override
    public StructType parseTableSchema(String sql) throws ParseException {
      return next.parseTableSchema(sql);
    }

    @Override
    public DataType parseDataType(String sql) throws ParseException {
      return next.parseDataType(sql);
    }
  }
}
