package wherry;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.expressions.GenericInternalRow;
import org.apache.spark.sql.connector.catalog.Identifier;
import org.apache.spark.sql.connector.catalog.ProcedureCatalog;
import org.apache.spark.sql.connector.catalog.procedures.BoundProcedure;
import org.apache.spark.sql.connector.catalog.procedures.ProcedureParameter;
import org.apache.spark.sql.connector.catalog.procedures.UnboundProcedure;
import org.apache.spark.sql.connector.read.LocalScan;
import org.apache.spark.sql.connector.read.Scan;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;
import org.apache.spark.unsafe.types.UTF8String;

/** The catalog wherry_sys with the one procedure sys.exec, to which the parser leads statements. */
public final class Sys implements ProcedureCatalog {
  private static final int MAX_ARGUMENTS = 4;

  private String name;

  @Override
  public void initialize(String name, CaseInsensitiveStringMap options) {
    this.name = name;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public Identifier[] listProcedures(String[] namespace) {
    return new Identifier[] {Identifier.of(new String[] {"sys"}, "exec")};
  }

  @Override
  public UnboundProcedure loadProcedure(Identifier i) {
    return new Exec();
  }

  /** Rows of strings, as a statement answers them. */
  record Table(List<String> columns, List<List<String>> rows) {
    static final Table NOTHING = new Table(List.of(), List.of());

    Scan scan() {
      StructType schema = new StructType();
      for (String c : columns) {
        schema = schema.add(c, DataTypes.StringType);
      }
      InternalRow[] out = new InternalRow[rows.size()];
      for (int i = 0; i < out.length; i++) {
        Object[] values = rows.get(i).stream().map(UTF8String::fromString).toArray();
        out[i] = new GenericInternalRow(values);
      }
      return new Rows(schema, out);
    }
  }

  private record Rows(StructType readSchema, InternalRow[] rows) implements LocalScan {}

  private static final class Exec implements UnboundProcedure, BoundProcedure {
    @Override
    public String name() {
      return "exec";
    }

    @Override
    public String description() {
      return "runs a statement that wherry's parser has read";
    }

    @Override
    public BoundProcedure bind(StructType types) {
      return this;
    }

    @Override
    public boolean isDeterministic() {
      return false;
    }

    @Override
    public ProcedureParameter[] parameters() {
      ProcedureParameter[] p = new ProcedureParameter[1 + MAX_ARGUMENTS];
      p[0] = ProcedureParameter.in("statement", DataTypes.StringType).build();
      for (int i = 1; i < p.length; i++) {
        p[i] =
            ProcedureParameter.in("argument" + i, DataTypes.StringType).defaultValue("''").build();
      }
      return p;
    }

    @Override
    public Iterator<Scan> call(InternalRow in) {
      JsonNode statement;
      try {
        statement = Api.JSON.readTree(in.getString(0));
      } catch (IOException e) {
        throw new IllegalArgumentException("not a statement: " + in.getString(0), e);
      }
      String[] arguments = new String[MAX_ARGUMENTS];
      for (int i = 0; i < MAX_ARGUMENTS; i++) {
        arguments[i] = in.isNullAt(1 + i) ? null : in.getString(1 + i);
      }
      Table result;
      try {
        result = new Commands(statement, arguments).run();
      } catch (Api.ApiException e) {
        throw Errors.analysis(e.getMessage());
      }
      return result == Table.NOTHING
          ? Collections.emptyIterator()
          : List.of(result.scan()).iterator();
    }
  }
}
