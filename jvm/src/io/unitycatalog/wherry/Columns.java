package io.unitycatalog.wherry;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.apache.spark.sql.types.ArrayType;
import org.apache.spark.sql.types.BinaryType;
import org.apache.spark.sql.types.ByteType;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.DecimalType;
import org.apache.spark.sql.types.LongType;
import org.apache.spark.sql.types.MapType;
import org.apache.spark.sql.types.ShortType;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;
import wherry.Api;

/** A table's columns in Spark's form and in the catalog API's. */
final class Columns {
  private Columns() {}

  /** The API's columns of a schema; partitions are the names of the partition columns in order. */
  static ArrayNode json(StructType schema, List<String> partitions) {
    ArrayNode out = Api.object().putArray("columns");
    StructField[] fields = schema.fields();
    for (int i = 0; i < fields.length; i++) {
      StructField f = fields[i];
      ObjectNode c = out.addObject();
      c.put("name", f.name());
      c.put("type_text", f.dataType().catalogString());
      c.put("type_name", typeName(f.dataType()));
      c.put("type_json", fieldJson(f));
      c.put("nullable", f.nullable());
      c.put("position", i);
      if (f.getComment().isDefined()) {
        c.put("comment", f.getComment().get());
      }
      if (f.dataType() instanceof DecimalType d) {
        c.put("type_precision", d.precision()).put("type_scale", d.scale());
      }
      if (partitions.contains(f.name())) {
        c.put("partition_index", partitions.indexOf(f.name()));
      }
    }
    return out;
  }

  private static String fieldJson(StructField f) {
    // Spark prints structs only: {"type":"struct","fields":[…]}.
    String struct = new StructType(new StructField[] {f}).json();
    return struct.substring(struct.indexOf('[') + 1, struct.lastIndexOf(']'));
  }

  private static String typeName(DataType t) {
    if (t instanceof LongType) {
      return "LONG";
    } else if (t instanceof ShortType) {
      return "SHORT";
    } else if (t instanceof ByteType) {
      return "BYTE";
    } else if (t instanceof BinaryType) {
      return "BINARY";
    } else if (t instanceof ArrayType) {
      return "ARRAY";
    } else if (t instanceof MapType) {
      return "MAP";
    } else if (t instanceof StructType) {
      return "STRUCT";
    } else if (t instanceof DecimalType) {
      return "DECIMAL";
    }
    String name = t.typeName().toUpperCase(java.util.Locale.ROOT);
    return name.equals("INTEGER") ? "INT" : name.replaceAll("\\(.*", "").replace(' ', '_');
  }

  private static List<JsonNode> sorted(JsonNode columns) {
    List<JsonNode> list = new ArrayList<>();
    columns.forEach(list::add);
    list.sort(Comparator.comparingInt(c -> c.path("position").asInt()));
    return list;
  }

  /** The schema of the API's columns. */
  static StructType schema(JsonNode columns) {
    StructType schema = new StructType();
    for (JsonNode c : sorted(columns)) {
      DataType type = type(c);
      boolean nullable = c.path("nullable").asBoolean(true);
      StructField f = DataTypes.createStructField(c.path("name").asText(), type, nullable);
      String comment = c.path("comment").asText("");
      schema = schema.add(comment.isEmpty() ? f : f.withComment(comment));
    }
    return schema;
  }

  private static DataType type(JsonNode column) {
    String text = column.path("type_text").asText("");
    return text.isEmpty() ? DataTypes.StringType : DataType.fromDDL(text);
  }

  /** The names of the partition columns, in order. */
  static List<String> partitions(JsonNode columns) {
    List<JsonNode> list = new ArrayList<>();
    columns.forEach(
        c -> {
          if (c.hasNonNull("partition_index")) {
            list.add(c);
          }
        });
    list.sort(Comparator.comparingInt(c -> c.path("partition_index").asInt()));
    return list.stream().map(c -> c.path("name").asText()).toList();
  }
}
